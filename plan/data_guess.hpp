// Says what a data file looks like, for those who have not said it yet.
#pragma once

#include <string>

#include "io/config.hpp"

namespace collie {

// The source that `given` names: a whole source as a configuration has it ("{path: a.jsonl, format: jsonl,
// text: KEY}"), or a file or pattern. Then it gets the format and the keys that the first file suggests:
// text, or, where the name ends in .jsonl, .ndjson or .json, what the first line's keys are called (chat,
// prompt and completion, text, tokens). Throws UserError if nothing matches the pattern, if the line is no
// JSON object, or if its keys have names that say nothing; `option` ("--train") begins the message.
DataSource guessed_source(const std::string& given, const std::string& option);

}  // namespace collie
