// Says on the button how many failures are chosen. Without it the style sheet counts them, for eyes alone.
"use strict";

const failures = document.getElementById("failures");

function count() {
  const button = failures.querySelector(".selected button");
  const chosen = failures.querySelectorAll("[name=ids]:checked").length;
  const label = chosen ? `Retry the selected ${chosen}` : "Retry the selected";
  if (button && button.textContent !== label) button.textContent = label;
}

document.documentElement.classList.add("counts");
document.addEventListener("change", count);
new MutationObserver(count).observe(failures, { childList: true, subtree: true, characterData: true });
count();
