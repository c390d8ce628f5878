#include "io/evaluation_samples.hpp"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/error.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"
#include "io/data_pieces.hpp"
#include "io/files.hpp"
#include "io/json_records.hpp"
#include "io/json_text.hpp"
#include "io/text_template.hpp"
#include "io/utf8.hpp"

namespace collie {
namespace {

// Takes a record; false: no more are wanted.
using RecordSink = std::function<bool(const JsonRecord& record)>;

bool is_blank_line(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

// False if the sink wants no more.
bool read_sample_lines(const DataPiece& piece, const std::string& path, const RecordSink& sink) {
  if (piece.overlong > 0)
    throw UserError("{}:{}: a line of {} bytes; at most {} are read", path, piece.first_line, piece.overlong,
                    longest_line);
  std::string_view rest = piece.text;
  for (int64_t number = piece.first_line; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (is_blank_line(line)) continue;
    const std::string place = fmt::format("{}:{}", path, number);
    if (const auto byte = first_invalid_utf8(line))
      throw UserError("{}: byte {} of the line is not UTF-8", place, *byte);
    if (!sink(JsonRecord({place, line}))) return false;
  }
  return true;
}

bool read_sample_file(const std::string& path, const RecordSink& sink) {
  DataPieces pieces(path, DataPieces::Cut::lines);
  for (DataPiece piece; pieces.next(piece);)
    if (!read_sample_lines(piece, path, sink)) return false;
  return true;
}

std::vector<std::string> files_of_set(const EvalSet& set, const std::string& place) {
  try {
    return expand_glob(set.source.path);
  } catch (const UserError& error) {
    throw UserError("{}: {}", place, error.what());
  }
}

template <class Sample>
std::vector<Sample> read_samples(const EvalSet& set, const std::string& place,
                                 const std::function<Sample(const JsonRecord& record)>& sample_of) {
  std::vector<Sample> samples;
  const auto sink = [&](const JsonRecord& record) {
    samples.push_back(sample_of(record));
    return set.limit == 0 || static_cast<int64_t>(samples.size()) < set.limit;
  };
  for (const std::string& path : files_of_set(set, place))
    if (!read_sample_file(path, sink)) break;
  if (samples.empty())
    throw UserError("{}: '{}' has no sample; a JSON object a line is wanted", place,
                    shortened(set.source.path));
  return samples;
}

// The record's own list of options.
std::vector<std::string> listed_options(const JsonRecord& record, const std::string& key) {
  const nlohmann::ordered_json& list = record.at(key);
  const auto is_text = [](const auto& item) { return item.is_string(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_text))
    throw UserError("{}: key '{}' must be a list of texts, not {}", record.place(), shortened(key),
                    in_short(nlohmann::json(list)));
  return list.get<std::vector<std::string>>();
}

void check_sample_options(const std::vector<std::string>& options, const std::string& place) {
  if (options.size() < 2)
    throw UserError("{}: {} options; two at least are something to choose from", place, options.size());
  for (size_t i = 0; i < options.size(); ++i) {
    if (options[i].empty()) throw UserError("{}: option {} is empty; a text is wanted", place, i);
    if (std::find(options.begin(), options.begin() + static_cast<std::ptrdiff_t>(i), options[i]) !=
        options.begin() + static_cast<std::ptrdiff_t>(i))
      throw UserError("{}: the option '{}' is there twice; each is wanted once", place,
                      shortened(options[i]));
  }
}

std::string list_of_options(const std::vector<std::string>& options) {
  constexpr size_t most = 8;
  std::string all;
  for (size_t i = 0; i < options.size() && i < most; ++i)
    all += (all.empty() ? "'" : ", '") + shortened(options[i]) + "'";
  return options.size() > most ? all + ", ..." : all;
}

// A number from 0, or an option's text.
int64_t label_of(const JsonRecord& record, const std::string& key, const std::vector<std::string>& options) {
  const nlohmann::ordered_json& label = record.at(key);
  const auto count = static_cast<int64_t>(options.size());
  if (label.is_number_integer()) {
    if (label < 0 || label >= count)
      throw UserError("{}: {} is {}; the number of an option, from 0 to {}, is wanted", record.place(),
                      shortened(key), in_short(nlohmann::json(label)), count - 1);
    return label.get<int64_t>();
  }
  if (!label.is_string())
    throw UserError("{}: key '{}' must be the number or the text of an option, not {}", record.place(),
                    shortened(key), label.type_name());
  const auto text = label.get<std::string>();
  const auto found = std::find(options.begin(), options.end(), text);
  if (found == options.end()) {
    const auto nearest = nearest_name(text, options);
    throw UserError("{}: {} is '{}', which is no option{}; the options are {}", record.place(),
                    shortened(key), shortened(text),
                    nearest ? fmt::format(" (the nearest is '{}')", *nearest) : "", list_of_options(options));
  }
  return found - options.begin();
}

// A key of one text or a list of them, or a template.
std::vector<std::string> references_of(const JsonRecord& record, const EvalSet& set,
                                       const TextTemplate& reference) {
  const bool is_key = set.reference.find_first_of("{}") == std::string::npos;
  if (!is_key || !record.at(set.reference).is_array()) return {reference.fill(record)};
  std::vector<std::string> all = listed_options(record, set.reference);
  if (all.empty())
    throw UserError("{}: key '{}' is an empty list; a text at least is wanted", record.place(),
                    shortened(set.reference));
  return all;
}

}  // namespace

std::vector<ClassificationSample> read_classification_samples(const EvalSet& set, const ConfigFile& file,
                                                              const std::string& section) {
  const TextTemplate prompt =
      TextTemplate::of_key_or_text(set.source.prompt, file.place(section + ".prompt"));
  std::vector<TextTemplate> options;
  for (const std::string& option : set.options)
    options.emplace_back(option, file.place(section + ".options"));
  return read_samples<ClassificationSample>(
      set, file.place(section + ".path"), [&](const JsonRecord& record) {
        ClassificationSample sample{record.place(), prompt.fill(record), {}, 0};
        for (const TextTemplate& option : options) sample.options.push_back(option.fill(record));
        if (options.empty()) sample.options = listed_options(record, set.options_column);
        check_sample_options(sample.options, sample.place);
        sample.label = label_of(record, set.label, sample.options);
        return sample;
      });
}

std::vector<GenerationSample> read_generation_samples(const EvalSet& set, const ConfigFile& file,
                                                      const std::string& section) {
  const TextTemplate prompt =
      TextTemplate::of_key_or_text(set.source.prompt, file.place(section + ".prompt"));
  const TextTemplate reference =
      TextTemplate::of_key_or_text(set.reference, file.place(section + ".reference"));
  return read_samples<GenerationSample>(set, file.place(section + ".path"), [&](const JsonRecord& record) {
    return GenerationSample{record.place(), prompt.fill(record), references_of(record, set, reference)};
  });
}

}  // namespace collie
