// Asks for the one page that its manifest allows, and then for what it does not.

const attempts = [
  "GET https://example.com/",
  "GET https://example.com/admin",
  "POST https://example.com/",
  "GET http://example.com/",
  "GET https://www.example.com/",
  "GET http://169.254.169.254/latest/meta-data/",
];

/** Sends no key and has none: the gateway adds it, where the manifest says so. */
async function attempt(line) {
  const [method, url] = line.split(" ");
  try {
    const answer = await fetch(url, { method });
    const text = await answer.text();
    return `${answer.status}, ${text.length} bytes`;
  } catch (error) {
    return error.message;
  }
}

export const run = {
  async run() {
    for (const line of attempts) {
      console.log(`${line}: ${await attempt(line)}`);
    }
  },
};
