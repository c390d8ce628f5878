#include "io/dataset_formats.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

// Makes documents of the texts of one file.
class DocumentMaker {
 public:
  DocumentMaker(const DataFile& file, const Tokenizer& tokenizer) : file_(file), tokenizer_(tokenizer) {
    const DataSource& source = file.source;
    adds_bos_ = source.add_bos == "auto" ? tokenizer.adds_bos() : source.add_bos == "true";
    if (adds_bos_ && !tokenizer.bos())
      throw UserError("{}: add_bos is true, but the tokenizer has no BOS token", source.path);
    adds_eos_ = source.add_eos != "false";
    if (adds_eos_ && !tokenizer.eos())
      throw UserError(
          "the tokenizer has no EOS token, and every document ends with it; name one as eos_token in "
          "tokenizer_config.json");
  }

  Document whole(std::string_view text) {
    std::vector<int32_t> tokens = started();
    append(tokenizer_.encode(text, false), tokens);
    return ended(std::move(tokens), 0);
  }

  // A token belongs to the completion if it begins at or behind the boundary.
  Document completed(const std::string& prompt, const std::string& completion) {
    std::vector<int32_t> tokens = started();
    const Encoding encoding = tokenizer_.encode_with_starts(prompt + completion);
    const auto boundary = std::find_if(encoding.starts.begin(), encoding.starts.end(),
                                       [&](size_t start) { return start >= prompt.size(); });
    const auto first = static_cast<int64_t>(tokens.size()) + (boundary - encoding.starts.begin());
    append(encoding.ids, tokens);
    return ended(std::move(tokens), first);
  }

 private:
  std::vector<int32_t> started() const {
    return adds_bos_ ? std::vector<int32_t>{*tokenizer_.bos()} : std::vector<int32_t>();
  }

  void append(const std::vector<int32_t>& ids, std::vector<int32_t>& tokens) {
    if (adds_bos_ && !ids.empty() && ids.front() == *tokenizer_.bos())
      warn_of_double("BOS", "begins", "add_bos");
    if (adds_eos_ && !ids.empty() && ids.back() == *tokenizer_.eos())
      warn_of_double("EOS", "ends", "add_eos");
    if (tokens.empty())
      tokens = ids;
    else
      tokens.insert(tokens.end(), ids.begin(), ids.end());
  }

  Document ended(std::vector<int32_t> tokens, int64_t first) const {
    if (adds_eos_) tokens.push_back(*tokenizer_.eos());
    return document_from(std::move(tokens), first);
  }

  // Once a file and token.
  void warn_of_double(const char* token, const char* where, const char* key) {
    if (!warned_.insert(key).second) return;
    log::warn(
        "{}: a text {} with the {} token, and one more is added; set {}: false for this source if that is "
        "not meant",
        file_.path, where, token, key);
  }

  const DataFile& file_;
  const Tokenizer& tokenizer_;
  bool adds_bos_ = false, adds_eos_ = true;
  std::set<std::string> warned_;
};

void read_text(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink) {
  if (!file.text.empty()) sink(DocumentMaker(file, tokenizer).whole(file.text));
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

void read_jsonl(const DataFile& file, const Tokenizer& tokenizer, const DocumentSink& sink) {
  const DataSource& source = file.source;
  if (source.text.empty() ? source.prompt.empty() || source.completion.empty()
                          : !source.prompt.empty() || !source.completion.empty())
    throw UserError("{}: a jsonl source names its keys as either text, or prompt and completion",
                    source.path);
  DocumentMaker documents(file, tokenizer);
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
    const Sample sample(file, line, text);
    sink(source.text.empty() ? documents.completed(sample.text(source.prompt), sample.text(source.completion))
                             : documents.whole(sample.text(source.text)));
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
