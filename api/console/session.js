/** The API key of this tab. It is kept in sessionStorage only, so that closing the tab forgets it. */

const NAME = "unlearn.key";

export function key() {
  return sessionStorage.getItem(NAME);
}

export function remember(value) {
  sessionStorage.setItem(NAME, value);
}

export function forget() {
  sessionStorage.removeItem(NAME);
}
