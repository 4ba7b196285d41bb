"""What the local stack takes from template.yaml."""

from pathlib import Path
from textwrap import dedent

import pytest

from behest_core.errors import ConfigurationError
from behest_core.testing import MappingSettings, Template
from behest_core.testing.template import QueueMapping

ROOT = Path(__file__).resolve().parents[2]

SAMPLE = """
    AWSTemplateFormatVersion: 2010-09-09
    Transform: AWS::Serverless-2016-10-31
    Parameters:
      BatchSize: { Type: Number, Default: 7 }
      Mode: { Type: String, Default: fast }
      Secret: { Type: String }
    Conditions:
      IsFast: !Equals [!Ref Mode, fast]
      IsSlow: !Not [!Condition IsFast]
      IsEither: !Or [{ Condition: IsFast }, { Condition: IsSlow }]
      IsBoth: !And [{ Condition: IsFast }, { Condition: IsSlow }]
    Globals:
      Function:
        Handler: app.handler
        Timeout: 9
        Environment:
          Variables: { SHARED: shared, MINE: global }
    Resources:
      Things:
        Type: AWS::DynamoDB::Table
        Properties:
          BillingMode: PAY_PER_REQUEST
          AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
          KeySchema: [{ AttributeName: id, KeyType: HASH }]
          StreamSpecification: { StreamViewType: KEYS_ONLY }
          TimeToLiveSpecification: { AttributeName: gone_at, Enabled: true }
          SSESpecification: { SSEEnabled: true }
          PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
          DeletionProtectionEnabled: true
      Named:
        Type: AWS::DynamoDB::Table
        Properties:
          TableName: !Sub "${AWS::StackName}-named"
          AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
          KeySchema: [{ AttributeName: id, KeyType: HASH }]
      Losses: { Type: AWS::SQS::Queue }
      Worker:
        Type: AWS::Serverless::Function
        Properties:
          CodeUri: functions/worker/
          MemorySize: 256
          Environment:
            Variables:
              MINE: own
              TABLE: !Ref Things
              NAMED: !Ref Named
              SPEED: !If [IsFast, quick, !Ref AWS::NoValue]
              JOINED: !Join ["-", [a, !Ref Mode]]
              SUBSTITUTED: !Sub ["${Mode} ${what} ${!literal} ${AWS::Region}", { what: !Ref BatchSize }]
              FLAGS: !Sub
                - "${either} ${both}"
                - either: !If [IsEither, yes, no]
                  both: !If [IsBoth, "yes", "no"]
          Events:
            Stream:
              Type: DynamoDB
              Properties:
                Stream: !GetAtt Things.StreamArn
                StartingPosition: TRIM_HORIZON
                BatchSize: !Ref BatchSize
                MaximumBatchingWindowInSeconds: 2
                MaximumRetryAttempts: "3"
                MaximumRecordAgeInSeconds: 120
                ParallelizationFactor: 4
                BisectBatchOnFunctionError: true
                FunctionResponseTypes: [ReportBatchItemFailures]
                DestinationConfig: { OnFailure: { Destination: !GetAtt Losses.Arn } }
            Clock: { Type: Schedule, Properties: { Schedule: rate(1 minute) } }
            Lost: { Type: SQS, Properties: { Queue: !GetAtt Losses.Arn, BatchSize: !Ref BatchSize } }
      Plain:
        Type: AWS::Serverless::Function
        Properties:
          CodeUri: functions/plain/
          Events:
            Stream:
              Type: DynamoDB
              Properties: { Stream: !GetAtt Things.StreamArn, StartingPosition: LATEST }
      Filtered:
        Type: AWS::Serverless::Function
        Properties:
          CodeUri: functions/filtered/
          Events:
            Stream:
              Type: DynamoDB
              Properties: { Stream: !GetAtt Things.StreamArn, StartingPosition: LATEST, FilterCriteria: {} }
      Secretive:
        Type: AWS::Serverless::Function
        Properties: { CodeUri: functions/x/, Environment: { Variables: { SECRET: !Ref Secret } } }
      Importing:
        Type: AWS::Serverless::Function
        Properties: { CodeUri: functions/x/, Environment: { Variables: { FROM: !ImportValue other } } }
      Lost:
        Type: AWS::Serverless::Function
        Properties: { CodeUri: functions/x/, Environment: { Variables: { FROM: !Ref Nowhere } } }
"""


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(dedent(SAMPLE))
    return path


def test_tables_become_arguments_of_create_table(sample):
    things = Template(sample, stack_name="s").tables()["Things"]
    assert things.name == "s-Things"
    assert things.create == {
        "TableName": "s-Things",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    }
    assert things.time_to_live == "gone_at"


def test_a_table_keeps_the_name_that_the_template_gives_it(sample):
    named = Template(sample, stack_name="s").tables()["Named"]
    assert named.name == named.create["TableName"] == "s-named"
    assert named.time_to_live is None
    assert "StreamSpecification" not in named.create


def test_a_functions_environment_is_resolved_and_joined_with_the_globals(sample):
    worker = Template(sample, stack_name="s").function("Worker")
    assert worker.environment == {
        "SHARED": "shared",
        "MINE": "own",
        "TABLE": "s-Things",
        "NAMED": "s-named",
        "SPEED": "quick",
        "JOINED": "a-fast",
        "SUBSTITUTED": "fast 7 ${literal} us-east-1",
        "FLAGS": "True no",
    }


def test_a_function_has_its_folder_handler_timeout_and_memory(sample):
    worker = Template(sample, stack_name="s").function("Worker")
    assert worker.name == "s-Worker"
    assert worker.code == sample.parent / "functions" / "worker"
    assert worker.handler == "app.handler"
    assert worker.timeout_seconds == 9
    assert worker.memory_mb == 256


def test_a_stream_mapping_has_all_its_settings(sample):
    (mapping,) = Template(sample).function("Worker").mappings
    assert mapping.table == "Things"
    assert mapping.failure_destination == "Losses"
    assert mapping.settings == MappingSettings(
        batch_size=7,
        batching_window_seconds=2,
        maximum_retry_attempts=3,
        maximum_record_age_seconds=120,
        bisect_batch_on_function_error=True,
        report_batch_item_failures=True,
        parallelization_factor=4,
        starting_position="TRIM_HORIZON",
    )


def test_a_stream_mapping_without_settings_has_lambdas_defaults(sample):
    (mapping,) = Template(sample).function("Plain").mappings
    assert mapping.failure_destination is None
    assert mapping.settings == MappingSettings(starting_position="LATEST")
    assert MappingSettings() == MappingSettings(
        batch_size=100,
        batching_window_seconds=0,
        maximum_retry_attempts=-1,
        maximum_record_age_seconds=-1,
        bisect_batch_on_function_error=False,
        report_batch_item_failures=False,
        parallelization_factor=1,
    )


def test_a_queue_has_its_batch_size(sample):
    template = Template(sample)
    assert template.function("Worker").queues == (QueueMapping("Losses", batch_size=7),)
    assert template.function("Plain").queues == ()


def test_parameters_replace_defaults(sample):
    template = Template(sample, parameters={"BatchSize": 50, "Mode": "slow"})
    worker = template.function("Worker")
    assert worker.mappings[0].settings.batch_size == 50
    assert "SPEED" not in worker.environment
    assert worker.environment["JOINED"] == "a-slow"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("Filtered", "FilterCriteria, which the model doesn't know"),
        ("Secretive", "the parameter Secret .* has no default"),
        ("Importing", "uses Fn::ImportValue"),
        ("Lost", "no parameter and no resource Nowhere"),
        ("Missing", "has no function Missing, only .*Worker"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(sample, function, message):
    with pytest.raises(ConfigurationError, match=message):
        Template(sample).function(function)


def test_a_parameter_that_the_template_lacks_is_refused(sample):
    with pytest.raises(ConfigurationError, match="has no parameter BatchSzie"):
        Template(sample, parameters={"BatchSzie": 1})


@pytest.mark.parametrize("text", ["", "[1, 2]", "Outputs: {}", "a: [", "Resources: 5"])
def test_a_file_that_is_no_template_is_refused(tmp_path, text):
    path = tmp_path / "template.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="isn't a template"):
        Template(path)


def test_a_missing_template_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        Template(tmp_path / "nowhere.yaml")


# ---------------------------------------------------------------------------------------------- the real one


def test_the_template_of_this_checkout_is_found():
    assert Template().path == ROOT / "template.yaml"


def test_both_tables_are_as_designed():
    tables = Template().tables()
    assert set(tables) == {"EventTable", "StateTable"}
    events, states = tables["EventTable"].create, tables["StateTable"].create
    assert events["KeySchema"] == [
        {"AttributeName": "run_id", "KeyType": "HASH"},
        {"AttributeName": "sequence", "KeyType": "RANGE"},
    ]
    assert events["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
    assert tables["EventTable"].time_to_live == "expires_at"
    assert states["KeySchema"] == [{"AttributeName": "run_id", "KeyType": "HASH"}]
    assert [index["IndexName"] for index in states["GlobalSecondaryIndexes"]] == [
        "by_session",
        "by_status",
        "by_parked",
        "by_waiting",
    ]
    assert [index["IndexName"] for index in events["GlobalSecondaryIndexes"]] == ["by_hour"]
    assert states["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"


def test_the_projector_reads_the_event_table_and_can_report_and_lose_nothing_silently():
    projector = Template().function("ProjectorFunction")
    (mapping,) = projector.mappings
    assert projector.code == ROOT / "functions" / "projector"
    assert mapping.table == "EventTable"
    assert mapping.failure_destination == "FailureQueue"
    assert mapping.settings.starting_position == "TRIM_HORIZON"
    assert mapping.settings.report_batch_item_failures
    assert mapping.settings.bisect_batch_on_function_error
    assert mapping.settings.maximum_retry_attempts >= 0
    assert 0 < mapping.settings.maximum_record_age_seconds <= 24 * 3600


@pytest.mark.parametrize("name", ["ProjectorFunction", "ReconcilerFunction"])
def test_every_function_of_the_template_has_a_handler_in_its_folder(name):
    template = Template()
    function = template.function(name)
    assert (function.code / "app.py").is_file()
    assert function.environment["BEHEST_EVENT_TABLE"] == template.tables()["EventTable"].name
    assert function.environment["BEHEST_STATE_TABLE"] == template.tables()["StateTable"].name


def test_two_stacks_count_apart():
    names = {
        Template(stack_name=stack).function(function).environment["POWERTOOLS_SERVICE_NAME"]
        for stack in ("one", "other")
        for function in ("ProjectorFunction", "ReconcilerFunction")
    }
    assert names == {"one-projector", "one-reconciler", "other-projector", "other-reconciler"}
