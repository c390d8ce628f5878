#include "io/dataset_formats.hpp"

#include <vector>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/chat_format.hpp"
#include "io/document_maker.hpp"
#include "io/json_records.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

AddedByFormat usual(const Tokenizer& tokenizer) {
  return {tokenizer.adds_bos(), true};
}

void read_text(const DataFile& file, const DataRecord& record, const Tokenizer& tokenizer,
               const DocumentSink& sink, DataFindings& findings) {
  sink(DocumentMaker(file, tokenizer, usual(tokenizer), findings).whole(record.text));
}

void check_text(const DataFile& file, const Tokenizer& tokenizer) {
  DataFindings none;
  const DocumentMaker documents(file, tokenizer, usual(tokenizer), none);
}

void check_jsonl(const DataFile& file, const Tokenizer& tokenizer) {
  const DataSource& source = file.source;
  if (source.text.empty() ? source.prompt.empty() || source.completion.empty()
                          : !source.prompt.empty() || !source.completion.empty())
    throw UserError("{}: a jsonl source names its keys as either text, or prompt and completion",
                    source.path);
  check_text(file, tokenizer);
}

void read_jsonl(const DataFile& file, const DataRecord& line, const Tokenizer& tokenizer,
                const DocumentSink& sink, DataFindings& findings) {
  const DataSource& source = file.source;
  const JsonRecord record(line);
  DocumentMaker documents(file, tokenizer, usual(tokenizer), findings);
  sink(source.text.empty() ? documents.completed(record.text(source.prompt), record.text(source.completion))
                           : documents.whole(record.text(source.text)));
}

std::vector<int32_t> read_ids(const JsonRecord& record, const std::string& key, int64_t least,
                              int64_t vocab_size) {
  const nlohmann::ordered_json& list = record.at(key);
  if (!list.is_array())
    throw UserError("{}: key '{}' must be a list of token ids", record.place(), shortened(key));
  std::vector<int32_t> ids;
  for (size_t i = 0; i < list.size(); ++i) {
    const auto& id = list[i];
    if (!id.is_number_integer() || id < least || id >= vocab_size)
      throw UserError("{}: {}[{}] is {}; a token id from {} to {} is wanted", record.place(), shortened(key),
                      i, in_short(id), least, vocab_size - 1);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// Labels as transformers has them: -100, or the token at the same place.
std::vector<bool> read_targets(const JsonRecord& record, const std::string& key,
                               const std::vector<int32_t>& tokens, int64_t vocab_size) {
  const std::vector<int32_t> labels = read_ids(record, key, -100, vocab_size);
  if (labels.size() != tokens.size())
    throw UserError("{}: {} labels for {} tokens; each token has its own, or -100", record.place(),
                    labels.size(), tokens.size());
  std::vector<bool> targets;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != -100 && labels[i] != tokens[i])
      throw UserError(
          "{}: {}[{}] is {}, but the token there is {}; a label is the token at its own place, or -100",
          record.place(), shortened(key), i, labels[i], tokens[i]);
    targets.push_back(labels[i] != -100);
  }
  return targets;
}

void check_added(const DataFile& file, const Tokenizer& tokenizer) {
  DataFindings none;
  const DocumentMaker documents(file, tokenizer, {false, false}, none);
}

void read_tokens(const DataFile& file, const DataRecord& line, const Tokenizer& tokenizer,
                 const DocumentSink& sink, DataFindings& findings) {
  const DataSource& source = file.source;
  const JsonRecord record(line);
  const std::vector<int32_t> tokens =
      read_ids(record, source.tokens.empty() ? "tokens" : source.tokens, 0, tokenizer.vocab_size());
  DocumentMaker documents(file, tokenizer, {false, false}, findings);
  sink(documents.given(tokens, source.labels.empty()
                                   ? std::vector<bool>(tokens.size(), true)
                                   : read_targets(record, source.labels, tokens, tokenizer.vocab_size())));
}

void check_chat(const DataFile& file, const Tokenizer& tokenizer) {
  if (!file.chat_template)
    throw UserError(
        "{}: format chat needs a chat template, and the tokenizer's folder has none; give this source a "
        "chat_template: FILE",
        file.source.path);
  check_added(file, tokenizer);
}

}  // namespace

Registry<DatasetFormat>& dataset_formats() {
  static Registry<DatasetFormat> formats("data set format", "format");
  static const bool filled = [] {
    formats.add("text", {false, read_text, check_text});
    formats.add("jsonl", {true, read_jsonl, check_jsonl});
    formats.add("chat", {true, read_chat, check_chat});
    formats.add("tokens", {true, read_tokens, check_added});
    return true;
  }();
  static_cast<void>(filled);
  return formats;
}

}  // namespace collie
