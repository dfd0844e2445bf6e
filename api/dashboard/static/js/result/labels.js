/** Names on a map, each put where it hides nothing else; a name without a free place is left out. */

const SIDES = [[0, -1], [1, 0], [-1, 0], [0, 1], [1, -1], [-1, -1], [1, 1], [-1, 1]];
const GAP_PX = 9;
const LINE_PX = 15;

/** Places taken on a map: boxes [left, top, right, bottom] in pixels. */
export class Labels {
  constructor(context, width, height) {
    this.context = context;
    this.frame = [2, 2, width - 2, height - 2];
    this.taken = [];
  }

  /** Keeps a box free of names. */
  reserve(box) {
    this.taken.push(box);
  }

  /** Where a name beside a marker is free: {x, y} of its middle, or null. */
  place(text, x, y) {
    const width = this.context.measureText(text).width;
    for (const [right, down] of SIDES) {
      const middle = { x: x + right * (width / 2 + GAP_PX), y: y + down * (LINE_PX / 2 + GAP_PX) };
      const box = [middle.x - width / 2, middle.y - LINE_PX / 2, middle.x + width / 2, middle.y + LINE_PX / 2];
      if (isWithin(box, this.frame) && !this.taken.some((other) => overlap(box, other))) {
        this.taken.push(box);
        return middle;
      }
    }
    return null;
  }
}

/** Text with a halo in the colour of the ground, so that lines under it do not spoil it. */
export function haloed(context, text, x, y, { ink, halo }) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 3.5;
  context.strokeStyle = halo;
  context.strokeText(text, x, y);
  context.fillStyle = ink;
  context.fillText(text, x, y);
}

function isWithin(box, frame) {
  return box[0] >= frame[0] && box[1] >= frame[1] && box[2] <= frame[2] && box[3] <= frame[3];
}

function overlap(one, other) {
  return one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3];
}
