// The official OpenAI client for Node against a Tureen server: prints "ok NAME" or "not ok NAME: WHY".

import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0, timeout: 120_000 });
const user = [{ role: "user", content: "Why is the sky blue?" }];
const models = (await client.models.list()).data.map((model) => model.id);
const soup = models.find((name) => name.startsWith("soup:"));
const policy = soup.slice("soup:".length, -"=1".length);

const ask = (more) =>
    client.chat.completions.create({ model: models[0], messages: user, max_tokens: 8, temperature: 0, ...more });

const checks = {
    async "whole answer"() {
        const answer = await ask();
        assert.equal(answer.object, "chat.completion");
        assert.equal(typeof answer.choices[0].message.content, "string");
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
    },
    async "preference as an extra field"() {
        const answer = await ask({ preference: { [policy]: 1 } });
        assert.deepEqual(answer.soup.weights, { [policy]: 1 });
    },
    async "preference in the model name"() {
        assert.equal((await ask({ model: soup })).soup.id, (await ask({ preference: { [policy]: 1 } })).soup.id);
    },
    async "stream equals the whole answer"() {
        let text = "";
        let usage = null;
        for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
            text += chunk.choices[0]?.delta?.content ?? "";
            usage = chunk.usage ?? usage;
        }
        assert.equal(text, (await ask()).choices[0].message.content);
        assert.ok(usage.completion_tokens >= 1);
    },
    async "a stream can be left early"() {
        for await (const _ of await ask({ stream: true, max_tokens: 64 })) break;
        await ask();
    },
    async "unknown policy is 422"() {
        await assert.rejects(ask({ preference: { "no-such-policy": 1 }, stream: true }), (error) => {
            return error instanceof OpenAI.UnprocessableEntityError && error.code === "unknown_policy";
        });
    },
    async "unknown model is 404"() {
        await assert.rejects(ask({ model: "gpt-0" }), (error) => error.code === "model_not_found");
    },
};

for (const [name, check] of Object.entries(checks)) {
    try {
        await check();
        console.log("ok", name);
    } catch (error) {
        console.log(`not ok ${name}: ${error}`.replaceAll("\n", " "));
    }
}
