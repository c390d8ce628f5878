// Makes documents of texts: what is added around them, and which of their tokens are targets.
#pragma once

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
  // `findings` gets what deserves a word.
  DocumentMaker(const DataFile& file, const Tokenizer& tokenizer, AddedByFormat added,
                DataFindings& findings);

  Document whole(std::string_view text);  // all tokens are targets
  // A token belongs to the completion, and is a target, if it begins at or behind the boundary.
  Document completed(const std::string& prompt, const std::string& completion);
  // The tokens that begin in one of `spans` (bytes of the text; in order, apart, none empty) are targets.
  // With `straddling` those are, too, that begin before a span and reach into it.
  Document spanned(std::string_view text, const std::vector<std::pair<size_t, size_t>>& spans,
                   bool straddling = false);
  // Tokens, and for each whether it is a target. EOS, where it is added, is one.
  Document given(const std::vector<int32_t>& tokens, const std::vector<bool>& targets);

 private:
  const Tokenizer& tokenizer_;
  DataFindings& findings_;
  bool adds_bos_ = false, adds_eos_ = false;
};

}  // namespace collie
