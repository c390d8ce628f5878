#include "io/dataset_formats.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

using Tokens = std::vector<int32_t>;

Tokens start_document(const Tokenizer& tokenizer) {
  Tokens tokens;
  if (tokenizer.adds_bos()) tokens.push_back(*tokenizer.bos());
  return tokens;
}

void append_text(Tokens& tokens, const Tokenizer& tokenizer, std::string_view text) {
  Tokens more = tokenizer.encode(text, false);
  if (tokens.empty())
    tokens = std::move(more);
  else
    tokens.insert(tokens.end(), more.begin(), more.end());
}

void end_document(Tokens& tokens, const Tokenizer& tokenizer) {
  if (!tokenizer.eos())
    throw UserError(
        "the tokenizer has no EOS token, and every document ends with it; name one as eos_token in "
        "tokenizer_config.json");
  tokens.push_back(*tokenizer.eos());
}

void read_text(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink) {
  if (file.text.empty()) return;
  Tokens tokens = start_document(tokenizer);
  append_text(tokens, tokenizer, file.text);
  end_document(tokens, tokenizer);
  sink(tokens, 0);
}

// One line of a JSONL file.
class Sample {
 public:
  Sample(const DataFile& file, int64_t line, std::string_view text)
      : place_(fmt::format("{}:{}", file.path, line)), value_(parse_json_object(text, place_)) {}

  const std::string& text(const std::string& key) const {
    const auto found = value_.find(key);
    if (found == value_.end())
      throw UserError("{}: it has no key '{}'; it has: {}", place_, shortened(key), keys());
    if (!found->is_string())
      throw UserError("{}: key '{}' must be a string, not {}", place_, shortened(key), found->type_name());
    return found->get_ref<const std::string&>();
  }

 private:
  static constexpr size_t longest_list = 200;

  std::string keys() const {
    std::string all;
    for (const auto& [key, value] : value_.items()) {
      all += (all.empty() ? "'" : ", '") + shortened(key) + "'";
      if (all.size() > longest_list) return all + ", ...";
    }
    return all.empty() ? "none" : all;
  }

  std::string place_;
  nlohmann::json value_;
};

void read_sample(const Sample& sample, const DataSource& source, const Tokenizer& tokenizer,
                 const DocumentSink& sink) {
  Tokens tokens = start_document(tokenizer);
  size_t masked = 0;
  if (!source.text.empty()) {
    append_text(tokens, tokenizer, sample.text(source.text));
  } else {
    append_text(tokens, tokenizer, sample.text(source.prompt));
    masked = tokens.size();
    append_text(tokens, tokenizer, sample.text(source.completion));
  }
  end_document(tokens, tokenizer);
  sink(tokens, static_cast<int64_t>(masked));
}

void read_jsonl(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink) {
  const DataSource& source = file.source;
  if (source.text.empty() ? source.prompt.empty() || source.completion.empty()
                          : !source.prompt.empty() || !source.completion.empty())
    throw UserError("{}: a jsonl source names its keys as either text, or prompt and completion",
                    source.path);
  // Far above any real sample. Tokenising one takes some ten times its size in memory, and a file whose line
  // never ends is a mistake.
  constexpr size_t longest_line = size_t{256} << 20;
  std::string_view rest = file.text;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    if (text.size() > longest_line)
      throw UserError("{}:{}: the line has {} bytes; a sample of at most {} is wanted, on a line of its own",
                      file.path, line, text.size(), longest_line);
    read_sample(Sample(file, line, text), source, tokenizer, sink);
  }
}

}  // namespace

Registry<DatasetFormat>& dataset_formats() {
  static Registry<DatasetFormat> formats("data set format", "format");
  static const bool filled = [] {
    formats.add("text", read_text);
    formats.add("jsonl", read_jsonl);
    return true;
  }();
  static_cast<void>(filled);
  return formats;
}

}  // namespace collie
