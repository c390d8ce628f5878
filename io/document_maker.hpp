// Makes documents of texts: what is added around them, and which of their tokens are targets.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/dataset_formats.hpp"

namespace collie {

// What a format adds around a text where its source's add_bos and add_eos are auto.
struct AddedByFormat {
  bool bos = false, eos = false;
};

class DocumentMaker {
 public:
  // Throws UserError if BOS or EOS is to be added and the tokenizer has none.
  DocumentMaker(const DataFile& file, const Tokenizer& tokenizer, AddedByFormat added);

  Document whole(std::string_view text);  // all tokens are targets
  // A token belongs to the completion, and is a target, if it begins at or behind the boundary.
  Document completed(const std::string& prompt, const std::string& completion);
  // The tokens that begin in one of `spans` (bytes of the text; in order, apart) are targets.
  Document spanned(std::string_view text, const std::vector<std::pair<size_t, size_t>>& spans);
  // Tokens, and for each whether it is a target. EOS, where it is added, is one.
  Document given(const std::vector<int32_t>& tokens, const std::vector<bool>& targets);

 private:
  void warn_of_double(const char* token, const char* where, const char* key);

  const DataFile& file_;
  const Tokenizer& tokenizer_;
  bool adds_bos_ = false, adds_eos_ = false;
  std::set<std::string> warned_;
};

}  // namespace collie
