/** Places on the globe: distances and a local plane about a point. */

const EARTH_RADIUS_M = 6_371_008.8;
const RADIANS = Math.PI / 180;

/** Metres between two places in degrees, along the great circle. */
export function distance(a, b) {
  const north = (b.latitude - a.latitude) * RADIANS;
  const east = (b.longitude - a.longitude) * RADIANS;
  const half = Math.sin(north / 2) ** 2 + Math.cos(a.latitude * RADIANS) * Math.cos(b.latitude * RADIANS) * Math.sin(east / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(half)));
}

/** The middle of places in degrees, also where they lie on both sides of the antimeridian. */
export function centreOf(places) {
  const first = places[0].longitude;
  const longitudes = places.map((place) => first + turned(place.longitude - first));
  return { latitude: middle(places.map((place) => place.latitude)), longitude: middle(longitudes) };
}

/** A function from a place in degrees to [east, north], km: azimuthal equidistant on a sphere. */
export function aboutOrigin(origin) {
  const [sin0, cos0] = [Math.sin(origin.latitude * RADIANS), Math.cos(origin.latitude * RADIANS)];
  return ({ latitude, longitude }) => {
    const turn = (longitude - origin.longitude) * RADIANS;
    const [sin, cos] = [Math.sin(latitude * RADIANS), Math.cos(latitude * RADIANS)];
    const away = Math.acos(Math.min(1, sin0 * sin + cos0 * cos * Math.cos(turn)));
    const stretch = (EARTH_RADIUS_M / 1000) * (away < 1e-9 ? 1 : away / Math.sin(away));
    return [stretch * cos * Math.sin(turn), stretch * (cos0 * sin - sin0 * cos * Math.cos(turn))];
  };
}

function turned(degrees) {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}

function middle(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return (low + high) / 2;
}
