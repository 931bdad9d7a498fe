// A component that makes requests by fetch, and prints what came of them.

const host = "http://api.example";

/** What came of a request: a line. */
async function tried(name, request) {
  try {
    console.log(name, await request());
  } catch (error) {
    console.log(name, "failed", error.name);
  }
}

async function get() {
  const response = await fetch(host + "/hello", { headers: { "x-agent": "javascript" } });
  return `${response.status} ${response.headers.get("x-upstream")} ${await response.text()}`;
}

async function post() {
  const response = await fetch(host + "/echo", { method: "POST", body: "what was sent" });
  return await response.text();
}

/** Several at once. */
async function crowd() {
  const texts = ["a", "b", "c"].map(async (text) => {
    const response = await fetch(`${host}/${text}`);
    return await response.text();
  });
  return (await Promise.all(texts)).join();
}

export const run = {
  async run() {
    await tried("get", get);
    await tried("post", post);
    await tried("crowd", crowd);
  },
};
