/** Dialogs that give the focus back. */

/** Opens the dialog; when it is closed, what had the focus gets it again, or the page where that is gone by then. */
export function open(dialog) {
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    // what the dialog has brought about may take its button away in a moment
    const giveBack = () => (before?.isConnected && !before.disabled ? before : document.getElementById("main")).focus({ preventScroll: true });
    giveBack();
    new MutationObserver((_, watcher) => {
      if (before?.isConnected) return;
      watcher.disconnect();
      if (document.activeElement === document.body) giveBack();
    }).observe(document.getElementById("main"), { childList: true, subtree: true });
  }, { once: true });
  dialog.showModal();
}
