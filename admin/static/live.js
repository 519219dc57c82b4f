// Refreshes the page's content every ten seconds, as long as nobody is choosing,
// typing or reading a table.
(() => {
  "use strict";
  const period = 10000;
  const busy = () => {
    const main = document.querySelector("main");
    const at = document.activeElement;
    return document.hidden || main.querySelector("input:checked, details[open]") ||
      (at && main.contains(at) && at.matches("input, select, textarea"));
  };
  const refresh = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Refresh": "1" } });
      if (!answer.ok) return;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (busy()) return;
      for (const part of ["main", "#state"]) {
        const now = document.querySelector(part), fresh = next.querySelector(part);
        if (now && fresh) now.replaceWith(fresh);
      }
    } catch { /* the next try may find it again */ }
  };
  if (document.documentElement.dataset.live) setInterval(refresh, period);
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-all]"))
      for (const box of document.querySelectorAll("td input[type=checkbox]")) box.checked = event.target.checked;
  });
})();
