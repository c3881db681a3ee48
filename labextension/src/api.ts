/** Asks the server, and turns what it refuses into an error with advice. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** What the server could not do: why, and what to do next. `status` is 0 where it could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly advice = ''
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

/** One request to `<base>/cellferry/api/<path>`; gives the JSON of its answer, throws `ApiError`. */
export async function ask<T>(
  settings: ServerConnection.ISettings,
  path: string,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE' = 'GET',
  body?: unknown
): Promise<T> {
  const address = URLExt.join(settings.baseUrl, 'cellferry', 'api') + '/' + path;
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(address, init, settings);
  } catch (error) {
    throw new ApiError(0, error instanceof Error ? error.message : String(error));
  }
  const text = await response.text();
  let data: any = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null;
  }
  if (!response.ok) {
    throw new ApiError(response.status, data?.message || response.statusText, data?.advice || '');
  }
  return data as T;
}
