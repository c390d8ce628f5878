// Readers of the documents of a data file: one function per format, found by the name in `format:`.
#pragma once

#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>

#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/data_findings.hpp"
#include "io/dataset.hpp"
#include "io/tokenizer.hpp"

namespace collie {

class ChatTemplate;

// One data file of a source.
struct DataFile {
  const DataSource& source;
  std::string path;                             // for messages
  const ChatTemplate* chat_template = nullptr;  // of the source or of the tokenizer's folder; null: none
  std::tm now = {};                             // local time when the file began to be tokenised
};

// A line of a data file, or all of it.
struct DataRecord {
  std::string place;      // FILE:LINE, or FILE
  std::string_view text;  // valid UTF-8
};

// Takes the documents in order.
using DocumentSink = std::function<void(Document document)>;

struct DatasetFormat {
  bool by_line = true;  // each line that is not blank is a record; false: the whole file is one, unless empty
  // Makes a record's documents. Several threads call it at once, and the result may depend only on the
  // record, the tokenizer and the source's keys, since it is cached by those. Throws UserError naming the
  // record's place, what was found and what would be right; data.max_bad_lines may allow that.
  std::function<void(const DataFile& file, const DataRecord& record, const Tokenizer& tokenizer,
                     const DocumentSink& sink, DataFindings& findings)>
      read;
  // Throws UserError if the source's keys are not those of the format, or want tokens that the tokenizer
  // lacks. May be empty.
  std::function<void(const DataFile& file, const Tokenizer& tokenizer)> check = {};
};

// The built-in formats:
//   text   the file is one document (none if it is empty), at most 2 GiB
//   jsonl  one JSON object per line (256 MiB at most), each a document: {text: KEY} or {prompt: KEY,
//          completion: KEY}; prompt and completion are joined without a separator and tokenised as one text,
//          and the tokens that begin in the completion are the targets
//   chat   JSON objects with messages: io/chat_format.hpp
//   tokens {tokens: KEY, labels: KEY}: token ids, and perhaps for each of them itself or -100, which is no
//          target; nothing is added
// Documents of text and jsonl start with BOS if the tokenizer adds it, and all end with EOS, which is a
// target; the source's add_bos and add_eos say otherwise.
Registry<DatasetFormat>& dataset_formats();

}  // namespace collie
