/** The frame: who is signed in, which page is shown. Pages get `{service, main, signal, id, query, connection}`. */

import { element } from "./element.js";
import { Service, Unreachable } from "./service.js";
import * as session from "./session.js";
import { files } from "./pages/files.js";
import { job } from "./pages/job.js";
import { jobs } from "./pages/jobs.js";
import { methods } from "./pages/methods.js";
import { models } from "./pages/models.js";
import { signIn } from "./pages/sign_in.js";
import { alarm } from "./components/notice.js";

const PAGES = { jobs, models, methods, files };

const main = document.getElementById("main");
const places = document.getElementById("places");
const signOut = document.getElementById("sign-out");
const banner = document.getElementById("connection");
const unguarded = document.getElementById("unguarded");
let service = null;
let shown = new AbortController(); // aborted when its page is left: everything the page started ends with it

function signedOut(reason) {
  session.forget();
  service = null;
  unguarded.hidden = true;
  open({ reason });
}

function signedIn(key) {
  session.remember(key);
  service = new Service(key, () => signedOut("This key is not valid, or no longer. Paste one that is."));
  warnUnguarded(service);
  open();
}

/** Says on every page that checkpoints are handed out whatever their verdict, where the operator has set that. */
async function warnUnguarded(asked) {
  try {
    const about = await asked.get("/v1/service", new AbortController().signal);
    unguarded.hidden = service !== asked || about.release !== "always";
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error; // the page itself says that nothing answers
  }
}

/** Says on every page that the service cannot be reached; null when it can be again. */
function connection(trouble) {
  banner.hidden = trouble === null;
  banner.textContent = trouble ?? "";
}

async function open({ reason = "" } = {}) {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  connection(null);
  places.hidden = signOut.hidden = service === null;
  if (service === null) {
    signIn({ main, reason, accept: signedIn, reject: signedOut });
    return;
  }
  const [path, search] = (location.hash.replace(/^#\/?/, "") || "jobs").split("?");
  const [place, id] = path.split("/").map(decodeURIComponent);
  const query = new URLSearchParams(search ?? "");
  for (const link of places.children) {
    if (link.hash === `#/${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = place === "jobs" && id ? job : PAGES[place];
  main.replaceChildren(element("p", { class: "waiting" }, "Loading"));
  try {
    if (page === undefined) throw new Error("There is no such page");
    await page({ service, main, signal, id, query, connection });
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(element("h1", {}, "This cannot be shown"), alarm(error, () => open()));
    if (!(error instanceof Unreachable)) document.title = "Unlearning service";
  }
}

document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
signOut.addEventListener("click", () => signedOut(""));
window.addEventListener("hashchange", () => open().then(() => main.focus({ preventScroll: true })));
const key = session.key();
if (key === null) open();
else signedIn(key);
