// Registers every message that leaves the process, with the name under which other processes know it.
#include "actors/caf_types.hpp"
#include "actors/engine.hpp"

namespace collie {

void add_message_types(caf::actor_system_config& config) {
  config.add_message_type<RunStarted>("collie::RunStarted");
  config.add_message_type<StepFinished>("collie::StepFinished");
  config.add_message_type<EvaluationFinished>("collie::EvaluationFinished");
  config.add_message_type<CheckpointSaved>("collie::CheckpointSaved");
  config.add_message_type<TokenGenerated>("collie::TokenGenerated");
  config.add_message_type<RunEnded>("collie::RunEnded");
  config.add_message_type<StopRequest>("collie::StopRequest");
  config.add_message_type<SaveRequest>("collie::SaveRequest");
  config.add_message_type<ProgramMessage>("collie::ProgramMessage");
  config.add_message_type<Payload>("collie::Payload");
  config.add_message_type<Credit>("collie::Credit");
  config.add_message_type<ProgramReply>("collie::ProgramReply");
  config.add_message_type<ProgramDone>("collie::ProgramDone");
  config.add_message_type<RankStep>("collie::RankStep");
  config.add_message_type<GiveUp>("collie::GiveUp");
  config.add_message_type<RanksTold>("collie::RanksTold");
  config.add_message_type<CutCommunication>("collie::CutCommunication");
  config.add_message_type<RankReady>("collie::RankReady");
  config.add_message_type<Failure>("collie::Failure");
  config.add_message_type<Wiring>("collie::Wiring");
  config.add_message_type<NodeRanks>("collie::NodeRanks");
  config.add_message_type<NodeOrder>("collie::NodeOrder");
  config.add_message_type<std::vector<RemoteNode>>("collie::RemoteNodes");
  config.add_message_type<SnapshotBegun>("collie::SnapshotBegun");
  config.add_message_type<ShardWritten>("collie::ShardWritten");
  config.add_message_type<LinkMessage>("collie::LinkMessage");
  config.add_message_type<std::vector<char>>("collie::KeyValue");
}

}  // namespace collie
