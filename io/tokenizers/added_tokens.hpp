// Tokens that are found in the text literally, before the model sees the text between them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizers/json_place.hpp"

namespace collie {

// An entry of `added_tokens` in a tokenizer.json.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // must not touch a word character
  bool lstrip = false;       // includes the white space to its left
  bool rstrip = false;       // includes the white space to its right
  bool normalized = false;   // searched in the normalised text (and then normalised itself)
  bool special = false;      // left out when decoding
};

std::vector<AddedToken> read_added_tokens(const JsonPlace& list);

// One entry, whose id is known. Throws UserError if the id is out of range.
AddedToken read_added_token(const JsonPlace& entry, int64_t id);

// An id that a table may be made for.
int32_t checked_token_id(const JsonPlace& place);

// Finds a set of patterns in a text. It goes from the left, takes the longest pattern that starts there, and
// goes on after its end.
class AddedTokenFinder {
 public:
  // `pattern` is what to search for: the content, or its normalised form. Empty patterns are never found.
  void add(const AddedToken& token, const std::string& pattern);

  struct Part {
    size_t begin, end;  // bytes
    int32_t id;         // -1: text between tokens
  };
  std::vector<Part> split(std::string_view text) const;

 private:
  struct Node {
    std::map<char, int32_t> next;
    int32_t token = -1;  // in tokens_, if a pattern ends here
  };
  struct Match {
    size_t end;
    int32_t token;  // -1: none
  };
  Match longest_at(std::string_view text, size_t begin) const;

  std::array<bool, 256> begins_{};  // the bytes that patterns begin with
  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace collie
