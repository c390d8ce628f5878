#include "plan/data_guess.hpp"

#include <string_view>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "base/regular_file.hpp"
#include "io/data_pieces.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"

namespace collie {
namespace {

// Whether each line is a JSON object, by the name without that of a compression.
bool holds_json(std::string path) {
  for (const std::string packed : {".gz", ".zst"})
    if (path.ends_with(packed)) path.resize(path.size() - packed.size());
  return path.ends_with(".jsonl") || path.ends_with(".ndjson") || path.ends_with(".json");
}

// The first line that is not blank, from within `text`; empty if there is none.
std::string first_line(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find('\n', begin) - begin));
}

std::string first_record(const std::string& path, const std::string& option) {
  DataPieces pieces(path, DataPieces::Cut::lines);
  for (DataPiece piece; pieces.next(piece);)
    if (const std::string line = first_line(piece.text); !line.empty()) return line;
  throw UserError("{}: {} has no lines; a JSON object on each line is wanted", option, shortened(path));
}

// Keys by which prompts and completions, or texts, are known.
constexpr std::pair<const char*, const char*> prompts_and_completions[] = {
    {"prompt", "completion"},    {"prompt", "response"}, {"prompt", "answer"},
    {"prompt", "chosen"},        {"question", "answer"}, {"instruction", "output"},
    {"instruction", "response"}, {"input", "output"},    {"source", "target"}};
constexpr const char* names_of_messages[] = {"messages", "conversations", "conversation"};
constexpr const char* names_of_texts[] = {"text", "content", "document"};
constexpr const char* names_of_tokens[] = {"input_ids", "tokens"};

bool guess_columns(const nlohmann::json& record, DataSource& source) {
  const auto is_list = [&](const char* key) { return record.contains(key) && record[key].is_array(); };
  const auto is_text = [&](const char* key) { return record.contains(key) && record[key].is_string(); };
  for (const char* const key : names_of_messages)
    if (is_list(key)) return source.format = "chat", source.messages = key, true;
  for (const auto& [prompt, completion] : prompts_and_completions)
    if (is_text(prompt) && is_text(completion))
      return source.format = "jsonl", source.prompt = prompt, source.completion = completion, true;
  for (const char* const key : names_of_tokens)
    if (is_list(key)) return source.format = "tokens", source.tokens = key, true;
  for (const char* const key : names_of_texts)
    if (is_text(key)) return source.format = "jsonl", source.text = key, true;
  return false;
}

std::string names_of_keys(const nlohmann::json& record) {
  std::string names;
  for (const auto& [key, value] : record.items()) names += (names.empty() ? "" : ", ") + key;
  return names.empty() ? "none" : shortened(names, 200);
}

std::string first_file(const std::string& pattern, const std::string& option) {
  std::vector<std::string> files;
  try {
    files = expand_glob(pattern);
  } catch (const UserError& error) {
    throw UserError("{}: {}", option, error.what());
  }
  check_regular_file(files.front(), option);
  return files.front();
}

// "{path: a.jsonl, format: jsonl, text: KEY}", as in a configuration.
DataSource whole_source(const std::string& given, const std::string& option) {
  try {
    const Config config = parse_config("data:\n  train: [" + given + "]\n");
    if (config.data.train.size() == 1) return config.data.train.front();
  } catch (const UserError& error) {
    throw UserError("{}: {}", option, error.what());
  }
  throw UserError("{}: found {}; one file, pattern or source is wanted", option, shortened(given));
}

}  // namespace

DataSource guessed_source(const std::string& given, const std::string& option) {
  if (given.starts_with("{")) return whole_source(given, option);
  DataSource source;
  source.path = given;
  const std::string path = first_file(given, option);
  if (!holds_json(path)) return source;
  const nlohmann::json record =
      parse_json_object(first_record(path, option), fmt::format("{}: the first line of {}", option, path));
  if (!guess_columns(record, source))
    throw UserError(
        "{}: the objects in {} have the keys {}, and which of them to train on is not plain; the whole "
        "source is "
        "wanted, as in {} '{{path: \"{}\", format: jsonl, text: KEY}}'",
        option, shortened(path), names_of_keys(record), option, shortened(given));
  return source;
}

}  // namespace collie
