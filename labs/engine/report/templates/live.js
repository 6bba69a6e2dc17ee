const status = document.getElementById("status");
const following = status.textContent;
let troubled = false;
let known = document.documentElement.dataset.state;

const get = async (path) => {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.text();
};

// Changed parts are replaced one by one, so that what a reader opened, selected or focused elsewhere stays.
const renew = (fresh) => {
  let changed = null;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const old = document.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
    if (!old) {
      document.querySelector("article:last-of-type").append(part.cloneNode(true));
      continue;
    }
    for (const opened of old.querySelectorAll("details[open]")) {
      part.querySelector(`#${CSS.escape(opened.id)}`)?.setAttribute("open", "");
    }
    if (old.outerHTML === part.outerHTML) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const placed = part.cloneNode(true);
    old.replaceWith(placed);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (placed.matches(".step")) changed = placed;
  }
  for (const old of document.querySelectorAll("[data-part]")) {
    if (!fresh.querySelector(`[data-part="${CSS.escape(old.dataset.part)}"]`)) old.remove();
  }
  return changed;
};

const show = (step) => {
  const heading = step.querySelector("h3");
  const verdict = heading.querySelector(".verdict").lastChild.textContent.trim();
  const named = { step: heading.firstChild.textContent.trim(), verdict };
  status.textContent = status.dataset.now.replace(/\{(\w+)\}/g, (_, name) => named[name]);
  if (!document.getElementById("follow").checked) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  step.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
};

const look = async () => {
  try {
    const now = await get("state");
    const fresh = now === known ? null : new DOMParser().parseFromString(await get("./"), "text/html");
    if (troubled) status.textContent = following;
    troubled = false;
    if (fresh) {
      known = fresh.documentElement.dataset.state;
      const changed = renew(fresh);
      if (changed) show(changed);
    }
  } catch (error) {
    troubled = true;
    // Without any answer there is a TypeError; an error in an answer is reported again, or is gone the next time.
    status.textContent = error instanceof TypeError ? status.dataset.ended : status.dataset.unreadable;
  }
  setTimeout(look, 1000);
};
look();
