// What belongs to a model's folder beside its weights and its architecture.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// Where the tokenizer's files are: tokenizer.path, or else model.path.
std::string tokenizer_folder(const Config& config);

// The files that final/ has from the folders that a run starts from: path in the folder and contents. From
// the tokenizer's folder come the files of tokenizers and chat templates, those that the engine does not know
// and those in additional_chat_templates/ among them; from the model's folder generation_config.json,
// licences, program files, and README.md, of which the fields at the top and the text are kept behind a line
// that says what became of the model. Files of weights, and files of more than 64 MiB, are not among them.
std::map<std::string, std::string> kept_files(const Config& config);

// The token ids that end a text which is generated: any that generation_config.json, config.json and the
// tokenizer call EOS. Throws UserError naming the file for an id that is no id.
std::vector<int32_t> stop_ids(const Config& config, const Tokenizer& tokenizer);

// Sets bos_token_id, eos_token_id and pad_token_id of `model_json` (final/config.json): what `source`, the
// model's own config.json, says, or else what the tokenizer does.
void set_special_ids(const nlohmann::json& source, bool own_tokenizer, const Tokenizer& tokenizer,
                     nlohmann::json& model_json);

}  // namespace collie
