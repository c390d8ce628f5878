// The components of a tokenizer.json (https://huggingface.co/docs/tokenizers/components), as the `tokenizers`
// library defines them. A new component needs a class and a line in the table of its kind.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/quote.hpp"
#include "io/tokenizers/json_place.hpp"

namespace collie {

// Maps text to text before anything is split off. Input and output are valid UTF-8.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string normalize(std::string text) const = 0;
};

// A part of the text on its way to the model, which sees each part on its own.
struct TextPiece {
  std::string text;
  bool at_start = false;  // it starts where the original text does
};

// Cuts each piece into smaller ones (and may rewrite them). Empty pieces are dropped.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual std::vector<TextPiece> split(std::vector<TextPiece> pieces) const = 0;
};

// Maps tokens to parts of text. What the last decoder returns is joined.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual std::vector<std::string> decode(std::vector<std::string> tokens) const = 0;
};

// These throw UserError naming the file, key and component if the component does not exist yet or its
// settings are wrong.
std::unique_ptr<Normalizer> make_normalizer(const JsonPlace& description);
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPlace& description);
std::unique_ptr<Decoder> make_decoder(const JsonPlace& description);

// Replaces every non-overlapping `pattern` (not empty) in `text` by `content`, from the left.
std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content);

// The literal pattern of a Replace component: {"String": "..."}. {"Regex": "..."} is refused.
std::string read_literal_pattern(const JsonPlace& description);

// A setting that must be exactly one code point.
std::string read_character(const JsonPlace& setting);

// GPT-2's printable stand-ins for bytes, one code point per byte.
// https://github.com/openai/gpt-2/blob/master/src/encoder.py
const std::vector<char32_t>& byte_characters();  // [256]

// Makes a Part, as the Component that it is.
template <class Component, class Part>
std::unique_ptr<Component> make_part(const JsonPlace& description) {
  return std::make_unique<Part>(description);
}

// Looks up description["type"] in `known` and makes that component.
template <class Component>
std::unique_ptr<Component> make_component(
    const JsonPlace& description, const char* kind,
    const std::map<std::string, std::function<std::unique_ptr<Component>(const JsonPlace&)>>& known) {
  const JsonPlace type = description["type"];
  const auto found = known.find(type.text());
  if (found != known.end()) return found->second(description);
  std::string names;
  for (const auto& [name, make] : known) names += (names.empty() ? "" : ", ") + name;
  type.refuse(
      fmt::format("the {} '{}' is not supported yet; supported: {}", kind, shortened(type.text()), names));
}

}  // namespace collie
