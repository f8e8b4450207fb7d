/** The frame of the console: it signs people in and shows pages. Pages get `{service, main, signal, id, query, connection}`. */

import { element } from "./element.js";
import { Service, Unreachable } from "./service.js";
import * as session from "./session.js";
import { files } from "./pages/files.js";
import { job } from "./pages/job.js";
import { jobs } from "./pages/jobs.js";
import { methods } from "./pages/methods.js";
import { models } from "./pages/models.js";
import { signIn } from "./pages/sign_in.js";
import { webhooks } from "./pages/webhooks.js";
import { errorNotice } from "./components/notice.js";

const PAGES = { jobs, models, methods, files, webhooks };

const main = document.getElementById("main");
const navigation = document.getElementById("places");
const signOut = document.getElementById("sign-out");
const banner = document.getElementById("connection");
const releaseWarning = document.getElementById("unguarded");
let service = null;
let openPage = new AbortController(); // aborted when the person leaves the page, with everything that the page started

function signedOut(reason) {
  session.forget();
  service = null;
  releaseWarning.hidden = true;
  open({ reason });
}

function signedIn(key) {
  session.remember(key);
  service = new Service(key, () => signedOut("This key is not valid, or it is no longer valid. Paste a valid key."));
  warnIfReleasedAlways(service);
  open();
}

/** Warns on every page if the operator has set that checkpoints are given out whatever their verdict. */
async function warnIfReleasedAlways(current) {
  try {
    const about = await current.get("/v1/service", new AbortController().signal);
    releaseWarning.hidden = service !== current || about.release !== "always";
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error; // the page itself shows that the service does not answer
  }
}

/** Shows on every page that the service cannot be reached; null: it can be reached again. */
function connection(message) {
  banner.hidden = message === null;
  banner.textContent = message ?? "";
}

async function open({ reason = "" } = {}) {
  openPage.abort();
  openPage = new AbortController();
  const { signal } = openPage;
  connection(null);
  navigation.hidden = signOut.hidden = service === null;
  if (service === null) {
    signIn({ main, reason, accept: signedIn, reject: signedOut });
    return;
  }
  const [path, search] = (location.hash.replace(/^#\/?/, "") || "jobs").split("?");
  const [name, id] = path.split("/").map(decodeURIComponent);
  const query = new URLSearchParams(search ?? "");
  for (const link of navigation.children) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = name === "jobs" && id ? job : PAGES[name];
  main.replaceChildren(element("p", { class: "waiting" }, "Loading"));
  try {
    if (page === undefined) throw new Error("There is no such page");
    await page({ service, main, signal, id, query, connection });
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(element("h1", {}, "This page cannot be shown"), errorNotice(error, () => open()));
    if (!(error instanceof Unreachable)) document.title = "Unlearning service";
  }
}

document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
signOut.addEventListener("click", () => signedOut(""));
window.addEventListener("hashchange", () => open().then(() => main.focus({ preventScroll: true })));
const key = session.key();
if (key === null) open();
else signedIn(key);
