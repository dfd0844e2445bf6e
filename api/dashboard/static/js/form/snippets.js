/** The request as commands that run as they are: curl and Python. */

/** A shell command that sends the request; the key comes from the environment. */
export function asCurl(body, origin) {
  return [
    "# export HEIMDALL_API_KEY=hmd_...",
    `curl --fail-with-body -sS '${origin}/v1/jobs' \\`,
    '  -H "Authorization: Bearer $HEIMDALL_API_KEY" \\',
    "  -H 'Content-Type: application/json' \\",
    '  -H "Idempotency-Key: \\"$(date +%s%N)\\"" \\',
    "  --data-binary @- <<'JSON'",
    JSON.stringify(body, null, 2),
    "JSON",
  ].join("\n");
}

/** A program that sends the request and waits for the end of the job; the key comes from the environment. */
export function asPython(body, origin) {
  return [
    "# export HEIMDALL_API_KEY=hmd_...",
    "from heimdall_client import HeimdallClient",
    "",
    `spec = ${literal(body)}`,
    "",
    `with HeimdallClient(${text(origin)}) as heimdall:`,
    "    job = heimdall.jobs.create(spec)",
    "    print(job.id)",
    "    job = heimdall.jobs.wait(job)",
    "    print(job.status, job.result)",
  ].join("\n");
}

/** A JSON value as Python writes it. */
export function literal(value, indent = "") {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return typeof value === "string" ? text(value) : String(value);
  const isList = Array.isArray(value);
  const [open, close] = isList ? "[]" : "{}";
  const inner = `${indent}    `;
  const line = ([key, one]) => `${inner}${isList ? "" : `${text(key)}: `}${literal(one, inner)},`;
  const lines = Object.entries(value).map(line);
  if (!lines.length) return open + close;
  return [open, ...lines, `${indent}${close}`].join("\n");
}

/** JSON strings are Python strings. */
function text(value) {
  return JSON.stringify(value);
}
