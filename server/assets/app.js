// Makes pages live and asks before grave deeds. Nothing here is needed: every page works without it.
"use strict";

(() => {
  const SETTLE_MS = 250; // Changes come in bursts: one look after each.
  const CLOCK_MS = 15000;
  const live = document.body.dataset.live;
  let timer = null;
  let looking = false;
  let again = false;

  // Times ---------------------------------------------------------------------------------------------------------
  const span = (ms) => {
    const s = Math.floor(ms / 1000);
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    if (s < 172800) return Math.floor(s / 3600) + " h";
    return Math.floor(s / 86400) + " days";
  };
  // The server's clock counts: its answer carries its time, and only the distance since then is ours.
  const served = Date.parse(document.querySelector("meta[name=now]")?.content ?? "");
  const skew = Number.isNaN(served) ? 0 : served - Date.now();
  const tick = () => {
    for (const time of document.querySelectorAll("time[datetime]:not([data-clock])")) {
      const ms = Date.now() + skew - Date.parse(time.dateTime);
      if (Number.isNaN(ms)) continue;
      const words = Math.abs(ms) < 5000 ? "just now" : ms > 0 ? span(ms) + " ago" : "in " + span(-ms);
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, CLOCK_MS);

  // Looking again --------------------------------------------------------------------------------------------------
  // What somebody typed or is being asked is never taken away from under his hands.
  const busy = (main) => {
    if (document.querySelector("dialog[open]")) return true;
    const typed = [...main.querySelectorAll("textarea, input:not([type=hidden])")];
    return typed.some((field) => field.value !== field.defaultValue);
  };
  // Relative times differ with every look and are no news.
  const substance = (element) => {
    const copy = element.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = time.dateTime;
    for (const open of copy.querySelectorAll("details")) open.removeAttribute("open");
    return copy.innerHTML;
  };
  const replace = (old, fresh) => {
    const opened = [...old.querySelectorAll("details[id]")].map((details) => [details.id, details.open]);
    const focused = document.activeElement?.id;
    old.replaceChildren(...fresh.childNodes);
    for (const [id, open] of opened) {
      const details = document.getElementById(id);
      if (details) details.open = open;
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    tick();
  };
  const refresh = (fresh) => {
    for (const selector of ["#automation", ".places", "#main"]) {
      const old = document.querySelector(selector);
      const next = fresh.querySelector(selector);
      if (!old || !next || substance(old) === substance(next)) continue;
      if (selector === "#main" && busy(old)) toast("This page changed while you were writing.", "Show it", () => location.reload());
      else replace(old, next);
    }
  };
  const look = async () => {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
      else if (answer.ok) refresh(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The server is away; the event stream tells when it is back.
    } finally {
      looking = false;
      if (again) {
        again = false;
        soon();
      }
    }
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, SETTLE_MS);
  };
  const concerns = (change) => {
    const [what, which] = live.split(":");
    // What a running step says is shown where its run is, and is no news elsewhere.
    if (change.event === "run_spoke" && what !== "incident" && what !== "run") return false;
    if (what === "incident") return change.incident === null || String(change.incident) === which;
    if (what === "run") return change.run === null || change.run === which;
    return true;
  };
  const listen = () => {
    const stream = new EventSource("/api/v1/events");
    let lost = false;
    const told = (event) => {
      let change = null;
      try {
        change = JSON.parse(event.data);
      } catch {
        // Told that changes were missed: look at everything.
      }
      if (change === null || concerns(change)) soon();
    };
    stream.onmessage = told;
    for (const name of ["change", "missed"]) stream.addEventListener(name, told);
    stream.onopen = () => {
      if (lost) {
        lost = false;
        hide();
        soon();
      }
    };
    stream.onerror = () => {
      if (!lost) toast("The server cannot be reached. What you see may be old.");
      lost = true;
    };
    addEventListener("pagehide", () => stream.close());
  };

  // Messages and questions -----------------------------------------------------------------------------------------
  const make = (tag, text, attributes) => Object.assign(document.createElement(tag), { textContent: text ?? "" }, attributes);
  const box = document.getElementById("toast");
  const hide = () => {
    if (box) box.hidden = true;
  };
  const toast = (text, word, act) => {
    if (!box) return;
    box.replaceChildren(make("span", text));
    if (word) {
      const button = make("button", word, { type: "button" });
      button.addEventListener("click", act);
      box.append(button);
    }
    box.hidden = false;
  };
  const question = (button) => {
    const form = button.form.dataset;
    switch (button.dataset.confirm) {
      case "approve":
        return {
          title: "Approve on " + form.host + "?",
          text: form.title + ": " + form.steps + (form.steps === "1" ? " step" : " steps") + " run as root. Plan " + form.plan + ".",
          word: "Approve",
        };
      case "cancel":
        return { title: "Cancel this run?", text: "No further step starts, and what was done is put back.", word: "Cancel the run" };
      case "revoke":
        return { title: button.textContent + "?", text: "The host is no longer heard and gets no orders until it joins again.", word: "Revoke" };
      default:
        return { title: button.textContent + "?", text: button.dataset.text ?? "", word: button.textContent };
    }
  };
  const ask = (button) => {
    const { title, text, word } = question(button);
    const dialog = make("dialog");
    const heading = make("h2", title, { id: "question" });
    dialog.setAttribute("aria-labelledby", "question");
    const actions = make("div", "", { className: "actions" });
    const back = make("button", "Back", { type: "button", autofocus: true });
    const go = make("button", word, { type: "button", className: button.className });
    actions.append(back, go);
    dialog.append(heading, make("p", text), actions);
    document.body.append(dialog);
    back.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      button.dataset.confirmed = "yes";
      dialog.close();
      button.form.requestSubmit(button);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      button.focus();
    });
    dialog.showModal();
  };
  addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button?.dataset.confirm && !button.dataset.confirmed) {
      event.preventDefault();
      ask(button);
      return;
    }
    // Twice tapped is once meant. The button's own value is sent before it is disabled.
    if (event.target.method === "post") setTimeout(() => event.target.querySelectorAll("button").forEach((b) => (b.disabled = true)));
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  if (live) listen();
})();
