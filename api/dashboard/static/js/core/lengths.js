/** Lengths of scale bars and grids. */

/** The largest of 1, 2, 5 times a power of ten that is not longer. */
export function roundLength(length) {
  const power = 10 ** Math.floor(Math.log10(length));
  return [5, 2, 1].map((factor) => factor * power).find((one) => one <= length * (1 + 1e-9));
}

/** "20 km", "500 m". */
export function lengthText(km) {
  return km >= 1 ? `${Number(km.toPrecision(3))} km` : `${Number((km * 1000).toPrecision(3))} m`;
}
