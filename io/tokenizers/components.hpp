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
#include "io/tokenizers/aligned_text.hpp"
#include "io/tokenizers/json_place.hpp"

namespace collie {

// Maps text to text before anything is split off. Input and output are valid UTF-8.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(AlignedText& text) const = 0;
};

// A text and the pieces of it that are left. The model sees each piece on its own.
struct TextPieces {
  AlignedText text;
  std::vector<TextRange> pieces;  // in order, not overlapping, none of them empty
  // Each byte of the text stands for its printable character (byte_characters()). ByteLevel, which is nearly
  // always last, leaves writing them out to who needs it.
  bool bytes_are_characters = false;

  std::string_view text_of(const TextRange& piece) const {
    return text.text().substr(piece.begin, piece.size());
  }
  void write_out_characters();
};

// Cuts each piece into smaller ones, leaves parts out, and may rewrite the text.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(TextPieces& text) const = 0;
  virtual bool needs_origins() const { return false; }
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

// A setting that must be exactly one code point.
std::string read_character(const JsonPlace& setting);

// GPT-2's printable stand-ins for bytes, one code point per byte.
// https://github.com/openai/gpt-2/blob/master/src/encoder.py
const std::vector<char32_t>& byte_characters();  // [256]

// Appends the stand-ins of `bytes` to `text`.
void append_byte_characters(std::string& text, std::string_view bytes);

// Makes a Part, as the Component that it is.
template <class Component, class Part>
std::unique_ptr<Component> make_part(const JsonPlace& description) {
  return std::make_unique<Part>(description);
}

template <class Component>
using ComponentTable = std::map<std::string, std::function<std::unique_ptr<Component>(const JsonPlace&)>>;

// Looks up description["type"] in `known` and makes that component.
template <class Component>
std::unique_ptr<Component> make_component(const JsonPlace& description, const char* kind,
                                          const ComponentTable<Component>& known) {
  const JsonPlace type = description["type"];
  const auto found = known.find(type.text());
  if (found != known.end()) return found->second(description);
  std::string names;
  for (const auto& [name, make] : known) names += (names.empty() ? "" : ", ") + name;
  type.refuse(
      fmt::format("the {} '{}' is not supported yet; supported: {}", kind, shortened(type.text()), names));
}

}  // namespace collie
