// Prometheus' text format, and the figures of the charts from successive scrapes.

const WINDOW_S = 10; // rates and percentiles are over the last ten seconds
const INFERENCE = new Set(["/infer", "/infer/batch", "/explain"]);

/** [{name, labels, value}] */
export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found) continue;
    const labels = Object.fromEntries(
      [...(found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]),
    );
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

const sum = (samples, name, keeps = () => true) =>
  samples
    .filter((sample) => sample.name === name && keeps(sample.labels))
    .reduce((total, { value }) => total + value, 0);

/** What one scrape says at `time`, in seconds. */
export function snapshot(time, samples) {
  const isInference = ({ route }) => INFERENCE.has(route);
  const buckets = new Map();
  for (const { name, labels, value } of samples) {
    if (name !== "fovea_http_request_duration_seconds_bucket" || labels.route !== "/infer") continue;
    const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
    buckets.set(edge, (buckets.get(edge) ?? 0) + value);
  }
  return {
    time,
    requests: sum(samples, "fovea_http_requests_total", isInference),
    buckets: [...buckets].sort(([a], [b]) => a - b),
    waiting: sum(samples, "fovea_requests_waiting"),
    running: sum(samples, "fovea_requests_running"),
    memory: sum(samples, "process_resident_memory_bytes") / 2 ** 20,
  };
}

/** The figures at the latest of `snapshots`, which are in the order of time; latency is null without requests. */
export function figures(snapshots) {
  const now = snapshots[snapshots.length - 1];
  const before = snapshots.find(({ time }) => now.time - time <= WINDOW_S);
  const seconds = now.time - before.time;
  const old = new Map(before.buckets);
  const counts = now.buckets.map(([edge, count]) => [edge, count - (old.get(edge) ?? 0)]);
  return {
    time: now.time,
    rate: seconds ? (now.requests - before.requests) / seconds : null,
    p50: quantile(counts, 0.5),
    p95: quantile(counts, 0.95),
    waiting: now.waiting,
    running: now.running,
    memory: now.memory,
  };
}

/** Milliseconds, interpolated inside the bucket as histogram_quantile of Prometheus does. `counts` are cumulative. */
export function quantile(counts, q) {
  const total = counts.length ? counts[counts.length - 1][1] : 0;
  if (!total) return null;
  const at = counts.findIndex(([, count]) => count >= q * total);
  const [low, below] = at ? counts[at - 1] : [0, 0];
  const [high, count] = counts[at];
  const seconds = Number.isFinite(high) ? low + ((high - low) * (q * total - below)) / (count - below) : low;
  return 1000 * seconds;
}
