// The data set format "chat".
#pragma once

#include "io/dataset_formats.hpp"

namespace collie {

// A line has the messages of a conversation under the source's key `messages` ("messages" by default), and
// perhaps tools under `tools` ("tools"), documents, and chat_template_kwargs (an object of variables, such as
// enable_thinking). The template writes the text; the tokens of the assistant's turns are the targets
// (ChatTemplate:: training_texts says which), but not those of messages with weight 0 or train false. A
// conversation without a turn to train on makes no document. BOS and EOS are what the template writes, unless
// the source's add_bos or add_eos is true. The tokens of {% generation %} blocks are those that overlap them,
// as in transformers 5.24 (apply_chat_template with return_assistant_tokens_mask); those of other turns begin
// in them. strftime_now() is the time when the file is tokenised.
void read_chat(const DataFile& file, const DataRecord& line, const Tokenizer& tokenizer,
               const DocumentSink& sink, DataFindings& findings);

}  // namespace collie
