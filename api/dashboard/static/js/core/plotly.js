/** Plotly under a policy that forbids inline styles: its rules come as a file, its attributes by CSSOM. */

const SCRIPT = new URL("../../plotly.min.js", import.meta.url).href;
const STYLE = new URL("../../plotly.css", import.meta.url).href;
const OWN_STYLES = ["plotly.js-style-global", "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"];

let loading = null;

/** The library, loaded once; rejects where it cannot be reached. */
export function loadPlotly() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load() {
  OWN_STYLES.filter((id) => !document.getElementById(id)).forEach(holdPlace);
  styleByObjectModel();
  await Promise.all([appended("link", { rel: "stylesheet", href: STYLE }), appended("script", { src: SCRIPT })]);
  return globalThis.Plotly;
}

/** Plotly and the map library in it look for their style elements by these ids before they make them. */
function holdPlace(id) {
  const place = document.createElement("meta");
  place.id = id;
  place.className = "no-inline-styles";
  document.head.append(place);
}

/** Texts with markup get their style as an attribute, which the policy refuses and the object model may set. */
function styleByObjectModel() {
  SVGElement.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}

function appended(tag, properties) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.addEventListener("load", resolve);
    element.addEventListener("error", () => {
      element.remove();
      reject(new Error(`${tag === "script" ? "The plot library" : "The style of the plots"} did not load`));
    });
    document.head.append(element);
  });
}
