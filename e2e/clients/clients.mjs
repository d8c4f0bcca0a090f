// The official clients of OpenAI and Anthropic against a gateway. Only their
// base URL and key are changed. Prints one line for each thing that went wrong,
// and a last line with how many were right.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { BASE, KEY } = process.env;
const openai = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
const hi = [{ role: "user", content: "hi" }];
const tools = [{ type: "function", function: { name: "weather", description: "of a place", parameters: { type: "object", properties: { place: { type: "string" } } } } }];
const anthropicTools = [{ name: "weather", description: "of a place", input_schema: { type: "object", properties: { place: { type: "string" } } } }];

async function fails(type, promise, status) {
  try {
    await promise;
  } catch (e) {
    assert.ok(e instanceof type, `${e.constructor.name} ${e.status}: ${e.message}`);
    assert.equal(e.status, status);
    assert.ok(e.message.length > 5, "it says why");
    return e;
  }
  assert.fail("it went well");
}

const checks = {
  async openai_chat() {
    const r = await openai.chat.completions.create({ model: "openai", messages: hi });
    assert.equal(r.choices[0].message.content, "Hello wörld 𝄞");
    assert.equal(r.usage.total_tokens, 7);
  },
  async openai_stream() {
    let text = "";
    let usage;
    for await (const c of await openai.chat.completions.create({ model: "openai", messages: hi, stream: true })) {
      text += c.choices[0]?.delta?.content ?? "";
      usage = c.usage ?? usage;
    }
    assert.equal(text, "Hello wörld 𝄞");
    assert.equal(usage, undefined, "usage that nobody asked for");
  },
  async openai_stream_usage() {
    let usage;
    for await (const c of await openai.chat.completions.create({ model: "openai", messages: hi, stream: true, stream_options: { include_usage: true } })) {
      usage = c.usage ?? usage;
    }
    assert.equal(usage?.total_tokens, 7);
  },
  async openai_tools() {
    const r = await openai.chat.completions.create({ model: "openai", messages: hi, tools, tool_choice: "auto" });
    assert.deepEqual(JSON.parse(r.choices[0].message.tool_calls[0].function.arguments), { place: "Göteborg" });
    const next = await openai.chat.completions.create({
      model: "openai", messages: [...hi, r.choices[0].message, { role: "tool", tool_call_id: r.choices[0].message.tool_calls[0].id, content: "rain" }],
    });
    assert.equal(next.choices[0].message.content, "Hello wörld 𝄞");
  },
  async openai_tools_stream() {
    const r = await openai.chat.completions.stream({ model: "openai", messages: hi, tools }).finalChatCompletion();
    assert.deepEqual(JSON.parse(r.choices[0].message.tool_calls[0].function.arguments), { place: "Göteborg" });
  },
  async openai_embeddings() {
    const r = await openai.embeddings.create({ model: "embed", input: ["a", "b"] }); // asks for base64 by itself
    assert.deepEqual(Array.from(r.data[1].embedding), [0.5, -1.25]);
    const f = await openai.embeddings.create({ model: "embed", input: "a", encoding_format: "float" });
    assert.deepEqual(Array.from(f.data[0].embedding), [0.5, -1.25]);
  },
  async openai_models() {
    const names = [];
    for await (const m of openai.models.list()) names.push(m.id);
    assert.ok(names.includes("openai") && names.includes("embed"), names.join());
  },
  async openai_responses() {
    const r = await openai.responses.create({ model: "openai", input: "hi", store: false });
    assert.equal(r.output_text, "Hello wörld 𝄞");
  },
  async openai_responses_stream() {
    let text = "";
    let done;
    for await (const e of await openai.responses.create({ model: "openai", input: "hi", store: false, stream: true })) {
      if (e.type === "response.output_text.delta") text += e.delta;
      if (e.type === "response.completed") done = e.response.output[0].content[0].text;
    }
    assert.equal(text, "Hello wörld 𝄞");
    assert.equal(done, text);
  },
  async openai_errors() {
    const ask = (c, model, more) => c.chat.completions.create({ model, messages: hi, ...more });
    await fails(OpenAI.AuthenticationError, ask(new OpenAI({ baseURL: `${BASE}/v1`, apiKey: "wdn_wrong", maxRetries: 0 }), "openai"), 401);
    const e = await fails(OpenAI.NotFoundError, ask(openai, "nosuch"), 404);
    assert.equal(e.code, "model_not_found");
    await fails(OpenAI.BadRequestError, ask(openai, "openai", { api_base: "http://evil" }), 400);
    await fails(OpenAI.PermissionDeniedError, ask(openai, "deny"), 403);
    await fails(OpenAI.RateLimitError, ask(openai, "spent"), 429);
    await fails(OpenAI.InternalServerError, ask(openai, "closed"), 503);
    await fails(OpenAI.InternalServerError, ask(openai, "broken"), 502);
  },
  async openai_denied_stream() {
    let text = "";
    let reason;
    for await (const c of await openai.chat.completions.create({ model: "deny", messages: hi, stream: true })) {
      text += c.choices[0]?.delta?.content ?? "";
      reason = c.choices[0]?.finish_reason ?? reason;
    }
    assert.equal(reason, "content_filter");
    assert.ok(!text.includes("karin"), text);
  },
  async openai_cut_stream() {
    const read = async () => {
      for await (const _ of await openai.chat.completions.create({ model: "cut", messages: hi, stream: true }));
    };
    await assert.rejects(read(), "a stream that breaks off looks whole");
  },
  async anthropic_messages() {
    const r = await anthropic.messages.create({ model: "anthropic", max_tokens: 50, messages: hi });
    assert.equal(r.content[0].text, "Hello wörld 𝄞");
    assert.equal(r.stop_reason, "end_turn");
  },
  async anthropic_stream() {
    const s = anthropic.messages.stream({ model: "anthropic", max_tokens: 50, messages: hi });
    let text = "";
    s.on("text", (t) => (text += t));
    const r = await s.finalMessage();
    assert.equal(text, "Hello wörld 𝄞");
    assert.equal(r.usage.output_tokens, 4);
  },
  async anthropic_tools() {
    const r = await anthropic.messages.create({ model: "anthropic", max_tokens: 50, messages: hi, tools: anthropicTools });
    assert.deepEqual(r.content[0].input, { place: "Göteborg" });
    const s = await anthropic.messages.stream({ model: "anthropic", max_tokens: 50, messages: hi, tools: anthropicTools }).finalMessage();
    assert.deepEqual(s.content[0].input, { place: "Göteborg" });
  },
  async anthropic_count_tokens() {
    const r = await anthropic.messages.countTokens({ model: "anthropic", messages: hi });
    assert.equal(r.input_tokens, 9);
  },
  async anthropic_errors() {
    const ask = (c, model, more) => c.messages.create({ model, max_tokens: 5, messages: hi, ...more });
    await fails(Anthropic.AuthenticationError, ask(new Anthropic({ baseURL: BASE, apiKey: "wdn_wrong", maxRetries: 0 }), "anthropic"), 401);
    const e = await fails(Anthropic.NotFoundError, ask(anthropic, "nosuch"), 404);
    assert.equal(e.error.error.type, "not_found_error");
    await fails(Anthropic.BadRequestError, ask(anthropic, "anthropic", { api_base: "http://evil" }), 400);
    await fails(Anthropic.RateLimitError, ask(anthropic, "spent-anthropic"), 429);
    await fails(Anthropic.InternalServerError, ask(anthropic, "closed"), 503);
  },
  // A client of one provider, a model of another.
  async openai_to_anthropic() {
    const r = await openai.chat.completions.create({ model: "anthropic", max_tokens: 50, messages: hi });
    assert.equal(r.choices[0].message.content, "Hello wörld 𝄞");
    const t = await openai.chat.completions.create({ model: "anthropic", max_tokens: 50, messages: hi, tools });
    assert.deepEqual(JSON.parse(t.choices[0].message.tool_calls[0].function.arguments), { place: "Göteborg" });
    let text = "";
    for await (const c of await openai.chat.completions.create({ model: "anthropic", max_tokens: 50, messages: hi, stream: true })) text += c.choices[0]?.delta?.content ?? "";
    assert.equal(text, "Hello wörld 𝄞");
  },
  async anthropic_to_openai() {
    const r = await anthropic.messages.create({ model: "openai", max_tokens: 50, messages: hi });
    assert.equal(r.content[0].text, "Hello wörld 𝄞");
    const s = await anthropic.messages.stream({ model: "openai", max_tokens: 50, messages: hi }).finalMessage();
    assert.equal(s.content[0].text, "Hello wörld 𝄞");
    const t = await anthropic.messages.stream({ model: "openai", max_tokens: 50, messages: hi, tools: anthropicTools }).finalMessage();
    assert.deepEqual(t.content[0].input, { place: "Göteborg" });
  },
};

let right = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    right++;
  } catch (e) {
    console.log(`${name}: ${e.constructor.name}: ${e.message}`);
  }
}
console.log(`${right} of ${Object.keys(checks).length} right`);
