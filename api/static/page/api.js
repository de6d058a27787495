// Requests to the service that served this page, at addresses relative to it.

export const UNREACHABLE = "The service does not answer. Is it running, and is the network up?";

export class Problem extends Error {
  constructor({ detail, code = "", status = 0, request_id = "" }) {
    super(detail);
    Object.assign(this, { detail, code, status, requestId: request_id });
  }
}

/** Without the user and password of the page's own address, which fetch() rejects. */
export function address(path, query) {
  const url = new URL(path, location.origin + location.pathname);
  for (const [name, value] of query ?? []) url.searchParams.append(name, value);
  return url.href;
}

/** The response, if its status is 2xx. Raises Problem, and the AbortError of `signal`. */
export async function request(path, { query, key, ...options } = {}) {
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(address(path, query), { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: UNREACHABLE, code: "unreachable" });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? `The server in front of the service answered ${response.status}.`;
  return new Problem({ code: "", request_id: "", ...problem, detail, status: response.status });
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

/** POST: the JSON, and where the time went. */
export async function post(path, options) {
  const started = performance.now();
  const response = await request(path, { method: "POST", ...options });
  const answered = performance.now();
  const json = await response.json();
  const read = performance.now() - answered;
  return { json, timing: { sent: answered - started, read, server: serverTiming(response) } };
}

/** Milliseconds by stage, in the header's order. */
export function serverTiming(response) {
  const entries = (response.headers.get("Server-Timing") ?? "").split(",").filter(Boolean);
  return Object.fromEntries(
    entries.map((entry) => {
      const [name, ...rest] = entry.trim().split(";");
      return [name, Number(rest.find((part) => part.trim().startsWith("dur="))?.split("=")[1] ?? 0)];
    }),
  );
}

/** Each line of an NDJSON response as it arrives. */
export async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
    if (done) return;
  }
}
