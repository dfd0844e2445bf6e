/** Beside a map: the facts of the session that stands out, or the sessions that were missed by most. */

import { h, replace } from "../core/dom.js";
import { metres, number } from "../core/format.js";
import { fact } from "./elements.js";
import { BASELINES, squaredRadius } from "./evaluation.js";

const NUM_WORST = 8;
const RINGS = [50, 68, 90, 95];

/** Fills the panel; returns {show(session, isPinned)}; `worst`: all sessions, the largest error first. */
export function mountDetails(element, { receivers, worst, onChoose }) {
  const rest = () => replace(element, ...list(worst, onChoose));
  rest();
  return {
    show(session, isPinned) {
      if (!session) return rest();
      return replace(element, ...facts(session, receivers), isPinned && letGo(onChoose));
    },
  };
}

function list(worst, onChoose) {
  const row = (session) =>
    h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "map-worst", on: { click: () => onChoose(session) } },
        h("span", {}, nameOf(session)),
        h("strong", {}, metres(session.error)),
      ),
    );
  return [
    h("h3", {}, "Largest errors"),
    h("ol", { class: "map-worst-list" }, worst.slice(0, NUM_WORST).map(row)),
    h("p", { class: "hint" }, "Point at a session to see its 68 % ellipse and the receivers that heard it; click to keep it."),
  ];
}

function letGo(onChoose) {
  return h("button", { type: "button", class: "button button-quiet", on: { click: () => onChoose(null) } }, "Back to all sessions");
}

function facts(session, receivers) {
  return [
    h("h3", {}, nameOf(session)),
    h(
      "dl",
      { class: "kv" },
      fact("Error", [h("strong", {}, metres(session.error)), session.isFitted && ", trained on"]),
      fact("Falls", `${ringOf(session)}, ${number(Math.sqrt(session.squared), 1)} σ`),
      fact("σ", `${metres(session.sigmaEast * 1e3)} east, ${metres(session.sigmaNorth * 1e3)} north`),
      fact("True place", degrees(session.latitude, session.longitude)),
      fact("Baselines", rows(session.baselines.map(([name, error]) => [BASELINES[name] ?? name, metres(error)]))),
      fact("Heard by", heardBy(session, receivers)),
    ),
    h("a", { class: "map-session", href: `/recordings/${session.id}` }, "Open the recording session"),
  ];
}

/** The strongest first. */
function heardBy({ snr }, receivers) {
  const heard = receivers.map(({ name }, i) => [name, snr[i]]).filter(([, value]) => value !== null);
  heard.sort((one, other) => other[1] - one[1]);
  return heard.length ? rows(heard.map(([name, value]) => [name, `${number(value)} dB`])) : "nobody";
}

function rows(pairs) {
  return h("ul", { class: "map-rows" }, pairs.map(([name, value]) => h("li", {}, h("span", {}, name), h("span", {}, value))));
}

function ringOf(session) {
  const ring = RINGS.find((percent) => session.squared <= squaredRadius(percent / 100));
  return ring ? `inside the ${ring} % ellipse` : "outside the 95 % ellipse";
}

function nameOf({ source, id }) {
  return source ?? `session ${id.slice(0, 8)}`;
}

function degrees(latitude, longitude) {
  const north = `${Math.abs(latitude).toFixed(4)}° ${latitude < 0 ? "S" : "N"}`;
  return `${north}, ${Math.abs(longitude).toFixed(4)}° ${longitude < 0 ? "W" : "E"}`;
}
