/** The rights of a key. The console hides buttons whose request the service would refuse with 403. */

/** Whether the key, as `/v1/keys/self` gives it, has the scope. */
export function may(key, scope) {
  return key.scopes.includes(scope) || key.scopes.includes("admin");
}
