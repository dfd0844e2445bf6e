/** Pointers, wheel and keys of a map: one finger scrolls the page, two move and zoom the map. */

const DRAG_PX = 4;
const WHEEL_STEP = 0.0016;

/** Tells what is done to a canvas: onPan(dx, dy), onZoom(factor, x, y), onPoint(x | null, y), onClick(x, y), onKey(key). */
export function follow(canvas, acts) {
  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, placeOf(event));
    moved = 0;
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    const now = placeOf(event);
    if (!before) return acts.onPoint(now.x, now.y);
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (fingers.size === 2) pinch(fingers, event.pointerId, now, acts);
    else if (event.pointerType === "mouse" && moved > DRAG_PX) acts.onPan(now.x - before.x, now.y - before.y);
    return fingers.set(event.pointerId, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    const { x, y } = placeOf(event);
    if (fingers.delete(event.pointerId) && moved <= DRAG_PX) acts.onClick(x, y);
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && acts.onPoint(null, null));
  canvas.addEventListener("wheel", (event) => turned(event, acts), { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const isOurs = !event.ctrlKey && !event.metaKey && !event.altKey && acts.onKey(event.key);
    if (isOurs) event.preventDefault();
  });
}

function pinch(fingers, id, now, acts) {
  const [otherId] = [...fingers.keys()].filter((one) => one !== id);
  const other = fingers.get(otherId);
  const before = fingers.get(id);
  const apart = Math.hypot(before.x - other.x, before.y - other.y) || 1;
  acts.onZoom(Math.hypot(now.x - other.x, now.y - other.y) / apart, (now.x + other.x) / 2, (now.y + other.y) / 2);
  acts.onPan((now.x - before.x) / 2, (now.y - before.y) / 2);
}

function turned(event, acts) {
  if (!event.ctrlKey && !event.metaKey) return acts.onPlainWheel();
  event.preventDefault();
  const { x, y } = placeOf(event);
  return acts.onZoom(Math.exp(-event.deltaY * WHEEL_STEP * (event.deltaMode ? 20 : 1)), x, y);
}

function placeOf(event) {
  return { x: event.offsetX, y: event.offsetY };
}
