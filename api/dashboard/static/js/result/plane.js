/** Ellipses in the plane of a map. */

/** Half axes, km, and the angle of the longer, radians from east to north, of an ellipse of a Gaussian. */
export function ellipseOf({ sigmaEast, sigmaNorth, correlation }, squaredRadius) {
  const east = sigmaEast ** 2;
  const north = sigmaNorth ** 2;
  const both = correlation * sigmaEast * sigmaNorth;
  const mean = (east + north) / 2;
  const spread = Math.hypot((east - north) / 2, both);
  return {
    major: Math.sqrt(squaredRadius * (mean + spread)),
    minor: Math.sqrt(squaredRadius * Math.max(mean - spread, 0)),
    angle: Math.atan2(2 * both, east - north) / 2,
  };
}
