/** A CPU profile of this very process, by the runtime's own sampling profiler. Loaded when one is asked for. */
import { Session } from "node:inspector";
import { type CpuProfile, encodePprof } from "./pprof.ts";

/** How long a profile is taken, s, and how often it looks, Hz. */
export interface ProfileRequest {
  readonly seconds: number;
  readonly frequency: number;
}

/** Limits and defaults of ztunnel's `/debug/pprof/profile` (spec/ztunnel.md §11.2). */
const PARAMETERS = {
  seconds: { most: 300, unless: 10 },
  frequency: { most: 1000, unless: 100 },
} as const;

/** The profile that a query asks for; a string is what is wrong with it. */
export function readProfileRequest(query: URLSearchParams): ProfileRequest | string {
  const request: { -readonly [K in keyof ProfileRequest]: number } = { seconds: 0, frequency: 0 };
  for (const name of ["seconds", "frequency"] as const) {
    const { most, unless } = PARAMETERS[name];
    const text = query.get(name) ?? String(unless);
    const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > most) return `${name} must be a whole number from 1 to ${most}, not '${text}'`;
    request[name] = value;
  }
  return request;
}

let running = false;

function post(session: Session, method: string, parameters: object = {}): Promise<unknown> {
  return new Promise((resolve, reject) => {
    session.post(method, parameters, (error: Error | null, result: unknown) => {
      if (error === null || error === undefined) resolve(result);
      else reject(error);
    });
  });
}

/** The profile in pprof's format; undefined while another one is being taken. Throws when the runtime cannot take one. */
export async function takeCpuProfile({ seconds, frequency }: ProfileRequest): Promise<Uint8Array | undefined> {
  if (running) return undefined;
  running = true;
  const session = new Session();
  try {
    session.connect();
    await post(session, "Profiler.enable");
    await post(session, "Profiler.setSamplingInterval", { interval: Math.round(1e6 / frequency) }); // µs
    const [date, began] = [Date.now(), performance.now()];
    await post(session, "Profiler.start");
    await new Promise((resume) => setTimeout(resume, seconds * 1000));
    const { profile } = await post(session, "Profiler.stop") as { profile: CpuProfile };
    return encodePprof(profile, frequency, date, performance.now() - began);
  } finally {
    session.disconnect();
    running = false;
  }
}
