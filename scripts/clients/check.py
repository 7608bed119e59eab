"""The official OpenAI client for Python against a Tureen server: prints "ok NAME" or "not ok NAME: WHY"."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="unused", max_retries=0, timeout=120)
USER = [{"role": "user", "content": "Why is the sky blue?"}]
models = [model.id for model in client.models.list()]
soups = [name for name in models if name.startswith("soup:")]
policy = soups[0].removeprefix("soup:").removesuffix("=1")


def ask(**more):
    given = {"model": models[0], "messages": USER, "max_tokens": 8, "temperature": 0} | more
    return client.chat.completions.create(**given)


def whole_answer():
    answer = ask()
    assert answer.object == "chat.completion" and answer.choices[0].finish_reason in ("length", "stop")
    assert isinstance(answer.choices[0].message.content, str)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def preference_as_an_extra_field():
    answer = ask(extra_body={"preference": {policy: 1.0}})
    assert answer.model_extra["soup"]["weights"] == {policy: 1.0}


def preference_in_the_model_name():
    by_name, by_field = ask(model=soups[0]), ask(extra_body={"preference": {policy: 1.0}})
    assert by_name.model_extra["soup"]["id"] == by_field.model_extra["soup"]["id"]
    assert by_name.choices[0].message.content == by_field.choices[0].message.content


def stream_equals_the_whole_answer():
    text, finish, usage = "", None, None
    for chunk in ask(stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text == ask().choices[0].message.content
    assert finish in ("length", "stop") and usage.completion_tokens >= 1


def same_seed_same_answer():
    first, second = (ask(temperature=1, seed=7).choices[0].message.content for _ in range(2))
    assert first == second


def log_probabilities():
    content = ask(logprobs=True).choices[0].logprobs.content
    assert content and all(token.logprob <= 0 for token in content)


def stop_as_a_string():
    assert " the" not in ask(stop=" the").choices[0].message.content


def system_message_and_parts():
    parts = [{"type": "text", "text": "Hello"}]
    ask(messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": parts}])


def many_fields_of_other_servers():
    ask(extra_body={"store": False, "parallel_tool_calls": True, "service_tier": "auto"})


def unknown_policy_is_422():
    try:
        ask(extra_body={"preference": {"no-such-policy": 1.0}}, stream=True)
    except openai.UnprocessableEntityError as error:
        assert error.code == "unknown_policy" and policy in error.message
    else:
        raise AssertionError("accepted")


def unknown_model_is_404():
    try:
        ask(model="gpt-0")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
    else:
        raise AssertionError("accepted")


def too_long_is_422():
    try:
        ask(messages=[{"role": "user", "content": "again and " * 20_000}])
    except openai.UnprocessableEntityError as error:
        assert error.code == "prompt_too_long"
    else:
        raise AssertionError("accepted")


for check in [
    whole_answer,
    preference_as_an_extra_field,
    preference_in_the_model_name,
    stream_equals_the_whole_answer,
    same_seed_same_answer,
    log_probabilities,
    stop_as_a_string,
    system_message_and_parts,
    many_fields_of_other_servers,
    unknown_policy_is_422,
    unknown_model_is_404,
    too_long_is_422,
]:
    name = check.__name__.replace("_", " ")
    try:
        check()
        print("ok", name, flush=True)
    except Exception as error:  # every check is tried
        print(f"not ok {name}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
