// collie-engine tokenizer: makes tokenizers, uses them and looks at them.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>

#include "app/commands.hpp"
#include "app/number_option.hpp"
#include "app/standard_streams.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "io/data_pieces.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/tokenizer.hpp"
#include "io/tokenizers/training/train_tokenizer.hpp"
#include "io/utf8.hpp"

namespace collie {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct TokenizerOptions {
  std::string folder, kind = "auto", text, file, out;
  bool special = false, json_lines = false, starts = false, has_text = false;
  std::vector<std::string> ids, files;
  TokenizerTraining training;
};

std::shared_ptr<const Tokenizer> load(const TokenizerOptions& options) {
  if (options.folder.empty() && options.kind != "byte")
    throw UserError("--model: the folder of a tokenizer is wanted (or --kind byte)");
  return load_tokenizer(options.folder, options.kind);
}

std::string standard_input() {
  std::string text((std::istreambuf_iterator<char>(std::cin)), {});
  if (std::cin.bad()) throw RunError("cannot read standard input");
  return text;
}

// Calls use(value, place) for each line of standard input, which must be JSON.
template <class Use>
void for_json_lines(const Use& use) {
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    const std::string place = fmt::format("standard input:{}", number);
    if (line.find_first_not_of(" \t\r") != std::string::npos) use(parse_json(line, place), place);
  }
}

Json encoded(const Tokenizer& tokenizer, const TokenizerOptions& options, const std::string& text) {
  if (!options.starts) return tokenizer.encode(text, options.special);
  const Encoding encoding = tokenizer.encode_with_starts(text);
  Json list = Json::array();
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const size_t end = i + 1 < encoding.ids.size() ? encoding.starts[i + 1] : text.size();
    list.push_back(
        {{"id", encoding.ids[i]},
         {"start", encoding.starts[i]},
         {"text", replace_invalid_utf8(text.substr(encoding.starts[i], end - encoding.starts[i]))}});
  }
  return list;
}

int encode(const TokenizerOptions& options) {
  const auto tokenizer = load(options);
  if (!options.json_lines) {
    const std::string text = options.has_text ? options.text : standard_input();
    write_result(encoded(*tokenizer, options, text).dump() + "\n");
    return 0;
  }
  for_json_lines([&](const nlohmann::json& value, const std::string& place) {
    if (!value.is_string()) throw UserError("{}: a JSON string is wanted, not {}", place, in_short(value));
    write_result(encoded(*tokenizer, options, value.get<std::string>()).dump() + "\n");
  });
  return 0;
}

std::vector<int32_t> ids_of(const nlohmann::json& value, const std::string& place, int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (const auto& id : value) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size)
      throw UserError("{}: found {}; a token id from 0 to {} is wanted", place, in_short(id), vocab_size - 1);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

int decode(const TokenizerOptions& options) {
  const auto tokenizer = load(options);
  if (!options.ids.empty()) {
    std::vector<int32_t> ids;
    const auto last = static_cast<int32_t>(tokenizer->vocab_size()) - 1;
    for (const std::string& id : options.ids) ids.push_back(parse_number_option<int32_t>("ID", id, 0, last));
    write_result(tokenizer->decode(ids) + "\n");
    return 0;
  }
  for_json_lines([&](const nlohmann::json& value, const std::string& place) {
    if (!value.is_array())
      throw UserError("{}: a JSON list of ids is wanted, not {}", place, in_short(value));
    const std::string text = tokenizer->decode(ids_of(value, place, tokenizer->vocab_size()));
    write_result((options.json_lines ? nlohmann::json(text).dump() : text) + "\n");
  });
  return 0;
}

// The first byte in which two texts differ.
size_t first_difference(const std::string& a, const std::string& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

Json checked_text(const Tokenizer& tokenizer, const std::string& file) {
  const std::string text = read_text_file(file);
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer.encode(text, false);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string again = tokenizer.decode(ids);
  Json result = {{"file", file},
                 {"bytes", text.size()},
                 {"tokens", ids.size()},
                 {"bytes_per_token",
                  ids.empty() ? 0.0 : static_cast<double>(text.size()) / static_cast<double>(ids.size())},
                 {"megabytes_per_second", static_cast<double>(text.size()) / 1e6 / std::max(seconds, 1e-9)},
                 {"decodes_to_itself", again == text}};
  if (again != text) result["first_difference_at_byte"] = first_difference(text, again);
  return result;
}

// The number of rows of the model's embedding, if the folder has a model.
std::optional<int64_t> rows_of_model(const fs::path& folder) {
  const std::string file = (folder / "config.json").string();
  if (!may_be_there(file)) return std::nullopt;
  const auto config = parse_json_object(read_text_file(file), file);
  const auto rows = config.find("vocab_size");
  if (rows == config.end() || !rows->is_number_integer()) return std::nullopt;
  return rows->get<int64_t>();
}

int check(const TokenizerOptions& options) {
  const auto tokenizer = load(options);
  const auto optional = [](std::optional<int32_t> id) { return id ? Json(*id) : Json(); };
  Json result = {{"vocab_size", tokenizer->vocab_size()},
                 {"bos", optional(tokenizer->bos())},
                 {"eos", optional(tokenizer->eos())},
                 {"around_an_empty_text", tokenizer->encode("", true)},
                 {"fingerprint", tokenizer->fingerprint()}};
  const auto rows = options.folder.empty() ? std::nullopt : rows_of_model(options.folder);
  if (rows) result["model_vocab_size"] = *rows;
  if (!options.file.empty()) result["text"] = checked_text(*tokenizer, options.file);
  write_result(result.dump(2) + "\n");
  if (rows && tokenizer->vocab_size() > *rows)
    throw UserError(
        "{}: the tokenizer has ids up to {}, but config.json's vocab_size is {}; the model has no rows for "
        "them",
        options.folder, tokenizer->vocab_size() - 1, *rows);
  return 0;
}

// Gives files part by part. Parts end at line ends, because a part must not cut a word.
class TextFiles {
 public:
  explicit TextFiles(const std::vector<std::string>& patterns) {
    for (const auto& pattern : patterns)
      for (const auto& path : expand_glob(pattern)) paths_.push_back(path);
  }

  bool next(std::string_view& part) {
    while (!file_ || !file_->next(piece_)) {
      file_.reset();
      if (at_ == paths_.size()) return false;
      file_ = std::make_unique<DataPieces>(paths_[at_++], DataPieces::Cut::lines, size_t{1} << 20);
    }
    const std::string& path = paths_[at_ - 1];
    if (piece_.overlong > 0)
      throw UserError("{}:{}: the line has {} bytes; at most {} are wanted", path, piece_.first_line,
                      piece_.overlong, longest_line);
    part = piece_.text;
    if (const auto offset = first_invalid_utf8(part))
      throw UserError("{}: it is not valid UTF-8 at byte {}", path, piece_.first_byte + *offset);
    return true;
  }

 private:
  std::vector<std::string> paths_;
  size_t at_ = 0;
  std::unique_ptr<DataPieces> file_;
  DataPiece piece_;
};

int train(const TokenizerOptions& options) {
  const fs::path out = options.out;
  if (may_be_there((out / "tokenizer.json").string()))
    throw UserError("--out: {} has a tokenizer.json; name another folder", options.out);
  TextFiles texts(options.files);
  const TokenizerFiles files =
      train_tokenizer(options.training, [&](std::string_view& part) { return texts.next(part); });
  std::error_code error;
  fs::create_directories(out, error);
  if (error) throw UserError("--out: cannot make the folder {}: {}", options.out, error.message());
  for (const auto& [name, contents] : files)
    write_file_durably((out / name).string(), std::string_view(contents));
  log::info("{}: a {} tokenizer with {} tokens", options.out, options.training.kind,
            load_tokenizer(out, "auto")->vocab_size());
  return 0;
}

CLI::App* add_use(CLI::App& group, const char* name, const char* description, TokenizerOptions& options) {
  CLI::App* command = group.add_subcommand(name, description);
  command->add_option("--model,--tokenizer", options.folder, "A folder with the tokenizer's files");
  command->add_option("--kind", options.kind, "auto: the folder's; byte: ids are bytes")
      ->capture_default_str();
  return command;
}

void add_train(CLI::App& group, const std::shared_ptr<TokenizerOptions>& options, int& exit_code) {
  TokenizerTraining& training = options->training;
  training.eos = "<|endoftext|>";
  CLI::App* command = group.add_subcommand("train", "Makes a tokenizer of text files");
  command->add_option("FILE", options->files, "Text files, or patterns such as 'books/*.txt'")->required();
  command->add_option("--out", options->out, "The folder to write tokenizer.json into")->required();
  command->add_option("--kind", training.kind, "bpe (of bytes) or unigram")->capture_default_str();
  add_number_option<int64_t>(*command, "--vocab-size", training.vocab_size, 1, int64_t{1} << 24,
                             "Number of tokens, bytes and special tokens included")
      ->required();
  add_number_option<int64_t>(*command, "--min-frequency", training.min_frequency, 0, int64_t{1} << 40,
                             "bpe: do not merge a pair that is rarer");
  command->add_option("--eos", training.eos, "The token that ends a document")->capture_default_str();
  command->add_option("--bos", training.bos, "The token that begins a document; none by default");
  command->add_option("--special", training.special_tokens, "Another special token; may be given again")
      ->allow_extra_args(false);
  command->callback([options, &exit_code] { exit_code = train(*options); });
}

}  // namespace

void add_tokenizer_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<TokenizerOptions>();
  CLI::App* group = app.add_subcommand("tokenizer", "Makes tokenizers, uses them and looks at them");
  group->require_subcommand(1);
  CLI::App* command = add_use(*group, "encode", "Prints the token ids of a text (standard input)", *options);
  command->add_option("--text", options->text, "The text, instead of standard input");
  command->add_flag("--special", options->special, "With what the tokenizer puts around a text, such as BOS");
  command->add_flag("--starts", options->starts, "Shows each token's text and the byte where it begins");
  command->add_flag("--json-lines", options->json_lines,
                    "Each line of standard input is a text, as a JSON string");
  command->callback([options, command, &exit_code] {
    options->has_text = command->count("--text") > 0;
    exit_code = encode(*options);
  });
  command = add_use(*group, "decode", "Prints the text of token ids", *options);
  command->add_option("ID", options->ids,
                      "The ids; without any, each line of standard input is a JSON list of them");
  command->add_flag("--json-lines", options->json_lines, "Prints each text as a JSON string");
  command->callback([options, &exit_code] { exit_code = decode(*options); });
  command = add_use(*group, "check", "Prints what a tokenizer is, and what it makes of a file", *options);
  command->add_option("--file", options->file, "A text file to encode and decode");
  command->callback([options, &exit_code] { exit_code = check(*options); });
  add_train(*group, options, exit_code);
}

}  // namespace collie
