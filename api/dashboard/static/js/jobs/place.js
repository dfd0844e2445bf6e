/** Where the reader was in the list, for those who come back to it from a job. */

const KEY = "heimdall-jobs-place";

/** Notes what `read()` answers whenever the page is left. */
export function keepPlace(read) {
  history.scrollRestoration = "manual";
  addEventListener("pagehide", () => sessionStorage.setItem(KEY, JSON.stringify({ href: location.href, ...read() })));
}

/** The place to return to: only for who came back or loaded the page again, with the same filters. */
export function savedPlace() {
  const [navigation] = performance.getEntriesByType("navigation");
  const place = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return place?.href === location.href && navigation?.type !== "navigate" ? place : null;
}
