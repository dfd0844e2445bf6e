/** What every page has around its content: the theme, the connection, the menu of the account. */

import { $, $$, debounce } from "./core/dom.js";

const CONNECTION = { open: "Live", lost: "Reconnecting", none: "" };

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("heimdall-theme", theme);
  } catch {
    // Storage can be forbidden: the choice then lasts as long as the page.
  }
  nameTheme();
}

function nameTheme() {
  $("#theme").setAttribute("aria-label", isDark() ? "Switch to the light theme" : "Switch to the dark theme");
}

function showConnection({ detail }) {
  const element = $("#connection");
  if (!element) return;
  element.dataset.state = detail;
  const text = CONNECTION[detail];
  if (element.textContent !== text) element.textContent = text;
}

/** A table that scrolls sideways must be reachable by keyboard. */
function reachTables() {
  for (const wrap of $$(".table-wrap")) {
    if (wrap.scrollWidth > wrap.clientWidth) wrap.tabIndex = 0;
    else wrap.removeAttribute("tabindex");
  }
}

/** The menu of the account closes as menus do. */
function closeAccount(event) {
  const menu = $(".account[open]");
  if (!menu || (event.type === "keydown" ? event.key !== "Escape" : menu.contains(event.target))) return;
  menu.open = false;
  if (event.type === "keydown") $("summary", menu).focus();
}

$("#theme").addEventListener("click", () => chooseTheme(isDark() ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
document.addEventListener("heimdall:connection", showConnection);
document.addEventListener("click", closeAccount);
document.addEventListener("keydown", closeAccount);
const reachSoon = debounce(reachTables, 150);
new MutationObserver(reachSoon).observe($("main"), { childList: true, subtree: true });
addEventListener("resize", reachSoon);
nameTheme();
reachSoon();
