/** What a key may do: buttons that would be answered 403 are not shown. */

/** Whether the key, as `/v1/keys/self` shows it, has the scope. */
export function may(key, scope) {
  return key.scopes.includes(scope) || key.scopes.includes("admin");
}
