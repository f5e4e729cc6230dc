--
-- Loads the Open University data (data/README.md) into the current schema
-- and makes of it the table "scores": one row per assessment handed in, with
-- nothing in it that was not known on that day, but the score.
--
-- Run by psql from the project's top folder:  psql -f data/oulad.sql
--

CREATE TABLE assessments (
    code_module         text,
    code_presentation   text,                   -- year, and B (February) or J (October)
    id_assessment       integer PRIMARY KEY,
    assessment_type     text,                   -- TMA: by a tutor, CMA: by computer, Exam
    date                integer,                -- when it is due: days since the presentation began
    weight              double precision
);

CREATE TABLE students (
    code_module         text,
    code_presentation   text,
    id_student          integer,
    gender              text,
    region              text,
    highest_education   text,
    imd_band            text,                   -- deprivation of the place of residence
    age_band            text,
    num_of_prev_attempts integer,
    studied_credits     integer,
    disability          text,
    final_result        text,                   -- lies in the future of every score: not used
    PRIMARY KEY (code_module, code_presentation, id_student)
);

CREATE TABLE submissions (
    id_assessment       integer REFERENCES assessments,
    id_student          integer,
    date_submitted      integer,                -- days since the presentation began
    is_banked           boolean,                -- taken over from an earlier presentation
    score               double precision,       -- 0 to 100
    PRIMARY KEY (id_assessment, id_student)
);

\copy assessments FROM PROGRAM 'gzip -dc data/oulad/assessments.csv.gz' WITH (FORMAT csv, HEADER)
\copy students FROM PROGRAM 'gzip -dc data/oulad/studentInfo.csv.gz' WITH (FORMAT csv, HEADER)
\copy submissions FROM PROGRAM 'gzip -dc data/oulad/studentAssessment.csv.gz' WITH (FORMAT csv, HEADER)

CREATE TABLE scores AS
SELECT  u.id_student,
        -- sorts as time does: 2013B < 2013J, then the day, which may lie before the start
        a.code_presentation || lpad((u.date_submitted + 1000)::text, 5, '0') AS handed_in,
        a.code_module,
        a.code_presentation,
        a.assessment_type,
        a.date::double precision AS due,
        a.weight,
        s.gender,
        s.region,
        s.highest_education,
        s.imd_band,
        s.age_band,
        s.num_of_prev_attempts::double precision AS previous_attempts,
        s.studied_credits::double precision AS studied_credits,
        s.disability,
        u.score
FROM    submissions u
        JOIN assessments a USING (id_assessment)
        JOIN students s USING (code_module, code_presentation, id_student)
WHERE   u.score IS NOT NULL AND NOT u.is_banked;

CREATE INDEX ON scores (id_student);

COMMENT ON TABLE scores IS
'one row per assessment handed in at the Open University, 2013 and 2014; Kuzilek, Hlosta, Zdrahal (2017), CC BY 4.0';

ANALYZE scores;
