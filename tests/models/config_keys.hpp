// The smallest configuration of a model, with other keys laid over it, and what is said of one that is wrong.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "models/model_config.hpp"
#include "tests/models/messages.hpp"

namespace collie::test {

using nlohmann::json;

inline const json two_factors = {1.0, 1.5, 2.0, 4.0};

inline json minimal() {
  return {{"model_type", "llama"},  {"hidden_size", 64},        {"intermediate_size", 172},
          {"num_hidden_layers", 5}, {"num_attention_heads", 8}, {"vocab_size", 512}};
}

inline json with(const json& changes) {
  json object = minimal();
  object.update(changes);
  return object;
}

inline ModelConfig parse(const json& object) {
  return parse_model_config(object, "config.json");
}

// The message for a minimal configuration with these keys on top.
inline std::string refusal(const json& changes) {
  return message_of([&] { parse(with(changes)); });
}

// `changes` laid over `object`.
inline json merged(json object, const json& changes) {
  object.update(changes);
  return object;
}

}  // namespace collie::test
