// Runs before the first paint: the theme that was chosen last, else that of the system.
(() => {
  try {
    const chosen = localStorage.getItem("heimdall-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage can be forbidden; then the system decides.
  }
})();
