// Readers of the documents of a data file: one function per format, found by the name in `format:`.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/dataset.hpp"
#include "io/tokenizer.hpp"

namespace collie {

class ChatTemplate;

// One data file of a source.
struct DataFile {
  const DataSource& source;
  std::string path;                             // for messages
  std::string_view text;                        // its contents, valid UTF-8
  const ChatTemplate* chat_template = nullptr;  // of the source or of the tokenizer's folder; null: none
  int64_t max_bad_lines = 0;
};

// Takes the documents in order.
using DocumentSink = std::function<void(const Document& document)>;

// Reads a file's documents. Throws UserError naming the file (and line), what was found and what would be
// right. The result may depend only on the text, the tokenizer and the source's keys, since it is cached by
// those.
using DatasetFormat =
    std::function<void(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink)>;

// The built-in formats:
//   text   the file is one document (none if it is empty)
//   jsonl  one JSON object per line (blank lines are skipped; 256 MiB at most), each a document: {text: KEY}
//          or {prompt: KEY, completion: KEY}; prompt and completion are joined without a separator and
//          tokenised as one text, and the tokens that begin in the completion are the targets
//   chat   JSON objects with messages: io/chat_format.hpp
//   tokens {tokens: KEY, labels: KEY}: token ids, and perhaps for each of them itself or -100, which is no
//   target;
//          nothing is added
// Documents of text and jsonl start with BOS if the tokenizer adds it, and all end with EOS, which is a
// target; the source's add_bos and add_eos say otherwise.
Registry<DatasetFormat>& dataset_formats();

}  // namespace collie
