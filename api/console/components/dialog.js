/** Dialogs that return the keyboard focus when they close. */

/** Opens the dialog. When it closes, the element that had the focus gets it again; the page gets it if that element is gone. */
export function open(dialog) {
  const focused = document.activeElement;
  dialog.addEventListener("close", () => {
    // the action that the dialog started may remove the button a moment later
    const returnFocus = () =>
      (focused?.isConnected && !focused.disabled ? focused : document.getElementById("main")).focus({ preventScroll: true });
    returnFocus();
    new MutationObserver((_, watcher) => {
      if (focused?.isConnected) return;
      watcher.disconnect();
      if (document.activeElement === document.body) returnFocus();
    }).observe(document.getElementById("main"), { childList: true, subtree: true });
  }, { once: true });
  dialog.showModal();
}
