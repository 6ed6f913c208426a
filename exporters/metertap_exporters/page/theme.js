// Before anything is painted: the colours that were chosen, else those of the system.
(() => {
  try {
    const chosen = localStorage.getItem("metertap.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's colours are taken.
  }
})();
