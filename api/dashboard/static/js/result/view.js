/** Which part of the plane a map shows: kilometres to pixels and back. */

const MARGIN_PX = 44;
const ZOOM_RANGE = [0.5, 400];

/** What is visible of the plane, `width` by `height` pixels about a centre. */
export class View {
  constructor(points) {
    const east = extent(points.map((point) => point[0]));
    const north = extent(points.map((point) => point[1]));
    this.home = { east: (east[0] + east[1]) / 2, north: (north[0] + north[1]) / 2 };
    this.spanKm = [Math.max(east[1] - east[0], 0.02), Math.max(north[1] - north[0], 0.02)];
    this.centre = { ...this.home };
    this.zoom = 1;
    this.resize(640, 480);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    const free = [Math.max(width - 2 * MARGIN_PX, 80), Math.max(height - 2 * MARGIN_PX, 80)];
    this.fitted = Math.min(free[0] / this.spanKm[0], free[1] / this.spanKm[1]);
  }

  /** Pixels of a kilometre. */
  get scale() {
    return this.fitted * this.zoom;
  }

  toPixels(east, north) {
    return [
      this.width / 2 + (east - this.centre.east) * this.scale,
      this.height / 2 - (north - this.centre.north) * this.scale,
    ];
  }

  toPlane(x, y) {
    return [
      this.centre.east + (x - this.width / 2) / this.scale,
      this.centre.north - (y - this.height / 2) / this.scale,
    ];
  }

  /** Moves what is shown by pixels. */
  pan(dx, dy) {
    this.centre.east -= dx / this.scale;
    this.centre.north += dy / this.scale;
  }

  /** Magnifies about a pixel, which keeps its place. */
  magnify(factor, x = this.width / 2, y = this.height / 2) {
    const [east, north] = this.toPlane(x, y);
    this.zoom = Math.min(Math.max(this.zoom * factor, ZOOM_RANGE[0]), ZOOM_RANGE[1]);
    const [movedX, movedY] = this.toPixels(east, north);
    this.pan(x - movedX, y - movedY);
  }

  /** Shows everything again. */
  fit() {
    this.centre = { ...this.home };
    this.zoom = 1;
  }

  /** Brings places into sight, without more magnification than needed to tell them apart. */
  reveal(points) {
    const isSeen = points.every(([east, north]) => this.shows(...this.toPixels(east, north)));
    if (isSeen) return;
    const east = extent(points.map((point) => point[0]));
    const north = extent(points.map((point) => point[1]));
    this.centre = { east: (east[0] + east[1]) / 2, north: (north[0] + north[1]) / 2 };
    const wanted = Math.max(east[1] - east[0], north[1] - north[0], 1e-6);
    this.zoom = Math.min(this.zoom, (0.7 * Math.min(this.width, this.height)) / wanted / this.fitted);
  }

  shows(x, y) {
    return x >= 0 && y >= 0 && x <= this.width && y <= this.height;
  }
}

function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}
